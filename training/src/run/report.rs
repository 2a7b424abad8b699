//! What a run tells a person, and a shell.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use tch::Device;
use text_recognizer::data::{Batch, DataLoader};
use text_recognizer::lit_models::LitModel;
use text_recognizer::models::ForwardContext;

use crate::cli::RunConfig;
use crate::plots::{self, Measured};
use crate::trainer::callbacks::number;
use crate::trainer::{FitSummary, Loaders, Record, RunFolder, Sweep};

/// Model and data, in a few lines on standard error before training.
///
/// # Errors
/// When the first row cannot be gathered.
pub fn summary(lit: &dyn LitModel, loaders: &Loaders, device: Device) -> Result<()> {
    let layers = layers(lit, loaders)?;
    let parameters = lit.parameters();
    let width = layers.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max("layer".len());
    log::info!("  {:<width$}  {:<20}{:>12}", "layer", "output", "parameters");
    for (name, output) in &layers {
        let own = |parameter: &str| parameter.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        let count: usize = parameters.iter().filter(|(name, _)| own(name)).map(|(_, p)| p.numel()).sum();
        log::info!("  {name:<width$}  {output:<20}{count:>12}");
    }
    let rows = |loader: &Option<DataLoader>| loader.as_ref().map_or(0, DataLoader::rows);
    let device = match (device, tch::get_num_threads()) {
        (Device::Cpu, 1) => "cpu, 1 thread".to_owned(),
        (Device::Cpu, threads) => format!("cpu, {threads} threads"),
        (other, _) => format!("{other:?}"),
    };
    log::info!(
        "{} parameters; {} rows to train on, {} to validate, {} to test; {device}",
        parameters.count(),
        loaders.train.rows(),
        rows(&loaders.val),
        rows(&loaders.test)
    );
    Ok(())
}

/// The layers that one row passes through, each with the shape of its output.
fn layers(lit: &dyn LitModel, loaders: &Loaders) -> Result<Vec<(String, String)>> {
    let mut layers = Vec::new();
    let (x, y) = loaders.train.dataset().slice(0, 1)?;
    let mut context = ForwardContext::eval().observed(Box::new(|name, output| {
        let sizes = output.size().into_iter().skip(1).map(|size| format!(", {size}"));
        layers.push((name.to_owned(), format!("[batch{}]", sizes.collect::<String>())));
    }));
    // What is wrong with the model or its loss is said of a whole batch, by the training that follows.
    let _ = tch::no_grad(|| lit.step(&Batch { x, y, rows: vec![0] }, &mut context));
    drop(context);
    Ok(layers)
}

/// What a learning-rate sweep came to, in words; its points go to the run's folder.
///
/// # Errors
/// When a file cannot be written.
pub fn sweep(sweep: &Sweep, folder: Option<&RunFolder>) -> Result<String> {
    let mut text = format!("learning rate {:.3e}: {}", sweep.suggestion, sweep.reason);
    if let Some(folder) = folder {
        let stem = folder.path().join("lr_find");
        sweep.write_csv(&stem.with_extension("csv"))?;
        plots::lr_sweep(&stem, &sweep.lrs, &sweep.losses, Some(sweep.suggestion))?;
        text += &format!("\n{}", stem.with_extension("png").display());
    }
    Ok(text)
}

/// Draws loss and metrics by epoch, those of before a resume too, from what was logged in epochs of `steps_per_epoch`.
///
/// # Errors
/// When the log cannot be read, or a plot not be written.
pub fn draw_metrics(folder: &RunFolder, steps_per_epoch: u64) -> Result<()> {
    let path = folder.path().join("metrics.jsonl");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut records = Vec::new();
    // The epoch at hand, and the step that it began with.
    let mut began = (0, 0);
    for line in text.lines() {
        let record: Map<String, Value> =
            serde_json::from_str(line).with_context(|| format!("reading {}", path.display()))?;
        // The records of single steps are another measure, and many.
        if record.contains_key("train_loss") {
            let number = |name: &str| record[name].as_u64().unwrap_or(0);
            let (epoch, step) = (number("epoch"), number("step"));
            if epoch > began.0 {
                began = (epoch, step);
            }
            let epoch = epoch as f64 + step.saturating_sub(began.1) as f64 / steps_per_epoch as f64;
            let values =
                record.into_iter().filter(|(name, _)| name.starts_with("train_") || name.starts_with("val_"));
            records.push((
                epoch,
                values.map(|(name, value)| (name, value.as_f64().unwrap_or(f64::NAN))).collect::<Vec<_>>(),
            ));
        }
    }
    let measured: Vec<_> = records.iter().map(|(epoch, values)| Measured { epoch: *epoch, values }).collect();
    // One point is no curve.
    if measured.len() > 1 { plots::metrics(&folder.path().join("metrics"), &measured) } else { Ok(()) }
}

/// The results as a table: a row a metric, a column a part of the data.
pub fn table(summary: &FitSummary, results: &Record) -> String {
    let stages = ["val", "test"].map(|stage| (stage, format!("{stage}_")));
    let of = |prefix: &str| {
        results.values.iter().filter_map(|(name, v)| Some((name.strip_prefix(prefix)?, *v))).collect()
    };
    let columns: Vec<(&str, Vec<(&str, f64)>)> = stages
        .iter()
        .map(|(stage, prefix)| (*stage, of(prefix)))
        .filter(|(_, values): &(_, Vec<_>)| !values.is_empty())
        .collect();
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(text, "{:<12}", "");
    for (stage, _) in &columns {
        let _ = write!(text, "{stage:>12}");
    }
    text.push('\n');
    for (row, (metric, _)) in columns.first().map_or(&[][..], |(_, values)| values).iter().enumerate() {
        let _ = write!(text, "{metric:<12}");
        for (_, values) in &columns {
            let _ =
                write!(text, "{:>12}", values.get(row).map_or_else(String::new, |(_, value)| number(*value)));
        }
        text.push('\n');
    }
    let best =
        summary.best.as_ref().map(|best| format!(", best by {} after epoch {}", best.metric, best.epoch));
    let skipped = if summary.skipped > 0 {
        format!(", {} steps left out as non-finite", summary.skipped)
    } else {
        String::new()
    };
    let seconds = summary.train_time.as_secs_f64();
    let _ = writeln!(
        text,
        "{} epochs, {} steps{skipped}{}; {}; training took {seconds:.2} s, {} ms a batch",
        summary.epochs,
        summary.steps,
        best.unwrap_or_default(),
        summary.stop,
        number(1e3 * seconds / summary.train_batches.max(1) as f64),
    );
    text
}

/// The results for a shell.
pub fn json(config: &RunConfig, folder: Option<&Path>, summary: &FitSummary, results: &Record) -> Value {
    let metrics: Map<String, Value> =
        results.values.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
    json!({
        "model": config.model,
        "data": config.data,
        "seed": config.trainer.seed,
        "lr": config.lit.optimizer.lr,
        "metrics": metrics,
        "best": summary.best,
        "epochs": summary.epochs,
        "steps": summary.steps,
        "skipped": summary.skipped,
        "stop": summary.stop.to_string(),
        "train_seconds": summary.train_time.as_secs_f64(),
        "train_batches": summary.train_batches,
        "folder": folder,
    })
}
