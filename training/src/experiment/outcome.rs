//! The outcome of a run.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::RunConfig;
use crate::format;
use crate::report::tables;
use crate::tasks::Report;
use crate::trainer::{FitSummary, LrFindResult, Record};

/// The outcome of a run that did not fail.
#[derive(Debug)]
pub enum Outcome {
    /// The run finished and has results.
    Finished(Box<Finished>),
    /// A signal stopped the run.
    Stopped {
        /// The signal's number.
        signal: i32,
        /// The folder to continue from; `None` if there is nothing to continue.
        folder: Option<PathBuf>,
        /// The table of `--profiler`; may be empty.
        profile: String,
    },
    /// The run only searched a learning rate.
    LrFound {
        /// The learning rate and the reason for it.
        result: LrFindResult,
        /// The run's folder.
        folder: Option<PathBuf>,
        /// The file of the plot.
        plot: Option<PathBuf>,
    },
}

/// The results of a run.
#[derive(Debug)]
pub struct Finished {
    /// The configuration, with the learning rate of the learning-rate finder if it ran.
    pub config: RunConfig,
    /// The run's folder; `None` if it wrote no files.
    pub folder: Option<PathBuf>,
    /// The summary of training; `None` for a model without training.
    pub summary: Option<FitSummary>,
    /// The metrics of the evaluated weights.
    pub results: Record,
    /// The additional results of the task.
    pub report: Report,
    /// The table of `--profiler`; may be empty.
    pub profile: String,
    /// The errors of files that could not be written.
    pub errors: Vec<anyhow::Error>,
}

impl Finished {
    /// Returns the results as text for the terminal.
    pub fn table(&self) -> String {
        let mut text = tables::metrics(&self.results.values);
        if let Some(summary) = &self.summary {
            text += &summary_line(summary);
            text.push('\n');
        }
        text + &self.report.table
    }

    /// Returns the results as a JSON object.
    pub fn json(&self) -> Value {
        let metrics: Map<String, Value> =
            self.results.values.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
        let mut json = json!({
            "model": self.config.model,
            "data": self.config.data,
            "metrics": metrics,
            "folder": self.folder,
        });
        if let Some(summary) = &self.summary {
            json["seed"] = self.config.trainer.seed.into();
            json["lr"] = self.config.lit.optimizer.lr.into();
            json["best"] = json!(summary.best);
            json["epochs"] = summary.epochs.into();
            json["steps"] = summary.steps.into();
            json["skipped"] = summary.skipped.into();
            json["stop"] = summary.stop.to_string().into();
            json["train_seconds"] = summary.train_time.as_secs_f64().into();
            json["train_batches"] = summary.train_batches.into();
        }
        if let Some(all) = json.as_object_mut() {
            all.extend(self.report.json.clone());
        }
        json
    }
}

fn summary_line(summary: &FitSummary) -> String {
    let best =
        summary.best.as_ref().map(|best| format!(", best by {} after epoch {}", best.metric, best.epoch));
    let skipped = if summary.skipped > 0 {
        format!(", {} skipped as non-finite", format::count(summary.skipped, "step"))
    } else {
        String::new()
    };
    // A resumed run whose budget is spent does not train.
    let time = match summary.train_batches {
        0 => String::new(),
        batches => format!(
            "; training took {}, {} per batch",
            format::duration(summary.train_time),
            format::duration(summary.train_time.div_f64(batches as f64))
        ),
    };
    format!(
        "{}, {}{skipped}{}; {}{time}",
        format::count(summary.epochs, "epoch"),
        format::count(summary.steps, "step"),
        best.unwrap_or_default(),
        summary.stop,
    )
}
