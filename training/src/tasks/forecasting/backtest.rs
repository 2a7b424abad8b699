//! The report of a backtest: a long table, a plot, and the errors of the model beside those of the baselines.

use std::fmt::Write;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use tch::Tensor;
use text_recognizer::lit_models::{Metric, MetricName};

use super::comparison::LEFT_OUT;
use super::plots;
use crate::format::{count, number};
use crate::report::{Cells, LongTable};
use crate::time_series::{Backtest, Coverage, Fold, Level, SeriesDataModule, mean};
use crate::trainer::RunFolder;

/// The metrics of the table on the terminal.
const SHOWN: [MetricName; 3] = [MetricName::Mae, MetricName::Rmse, MetricName::Smape];
/// The width of their columns.
const WIDTH: usize = 11;
/// The title of the first column, whose cells are the last timestamps before the cutoffs.
const AFTER: &str = "forecasts after";
/// The most folds or time steps that the table on the terminal has.
const MOST_LINES: usize = 12;

/// The results of a backtest.
pub struct BacktestReport {
    module: Rc<SeriesDataModule>,
    /// The model, then the baselines.
    models: Vec<Model>,
    coverage: Vec<Coverage>,
    /// The levels for which a fold has too few errors of earlier forecasts.
    left_out: Vec<Level>,
    /// Whether each fold has a trained model of its own; `None` for a model without training.
    refit: Option<bool>,
    /// Whether the statistical models are left out because of their work.
    too_much_work: bool,
}

/// The forecasts of a model and their errors.
struct Model {
    name: String,
    backtest: Backtest,
    mae: f64,
    /// The MASE of each fold.
    mase: Vec<f64>,
}

impl Model {
    /// Returns the mean MASE of the folds that have one; NaN if none has.
    fn mean_mase(&self) -> f64 {
        mean(self.mase.iter().copied().filter(|mase| !mase.is_nan()))
    }
}

impl BacktestReport {
    /// Computes the errors of the forecasts of `models`, the model first. Those of the other models are over the values that the
    /// first one forecasts. `levels` are those that were asked for, and `refit` and `too_much_work` are as in the report.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn new(
        module: &Rc<SeriesDataModule>,
        mut models: Vec<(String, Backtest)>,
        levels: &[Level],
        (refit, too_much_work): (Option<bool>, bool),
    ) -> Result<Self> {
        let season = module.baselines().season;
        let ((_, first), others) = models.split_first_mut().context("found no model")?;
        for (_, other) in others {
            other.only_where(first)?;
        }
        let coverage = coverage(first)?;
        let left_out =
            levels.iter().copied().filter(|level| first.levels().all(|kept| kept != *level)).collect();
        let model = |(name, backtest): (String, Backtest)| -> Result<Model> {
            let mae = backtest.overall(MetricName::Mae)?.unwrap_or(f64::NAN);
            let mase = backtest.mase(module.series(), season)?;
            Ok(Model { name, backtest, mae, mase })
        };
        let models = models.into_iter().map(model).collect::<Result<_>>()?;
        Ok(Self { module: Rc::clone(module), models, coverage, left_out, refit, too_much_work })
    }

    fn model(&self) -> &Model {
        &self.models[0]
    }

    /// Writes `backtest.csv`, `backtest.parquet` and a plot.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub fn write(&self, folder: &RunFolder) -> Result<()> {
        let table = self.long_table()?;
        table.write_csv(&folder.artifact("backtest.csv"))?;
        table.write_parquet(&folder.artifact("backtest.parquet"))?;
        let Model { name, backtest, .. } = self.model();
        plots::backtest(&folder.artifact("backtest"), name, backtest, &self.module)
    }

    /// Returns one row per column, cutoff and time step: the forecast, the actual value and the intervals.
    fn long_table(&self) -> Result<LongTable> {
        let (series, folds) = (self.module.series(), &self.model().backtest.folds);
        let names = &series.names;
        let each = || {
            names
                .iter()
                .enumerate()
                .flat_map(move |(at, name)| folds.iter().map(move |fold| (at, name, fold)))
        };
        let timestamps = &series.timestamps;
        let time = |rows: Vec<usize>| {
            let labels = rows.iter().flat_map(|&row| timestamps.labels_of(row..row + 1)).collect();
            match rows.iter().map(|&row| timestamps.micros(row)).collect::<Option<Vec<i64>>>() {
                Some(micros) => Cells::Time { labels, micros, is_utc: timestamps.is_instant() },
                None => {
                    Cells::Number(rows.iter().flat_map(|&row| timestamps.numbers_of(row..row + 1)).collect())
                }
            }
        };
        let number = |of: &dyn Fn(&Fold) -> Option<Tensor>| -> Result<Cells> {
            let mut cells = Vec::new();
            for (at, _, fold) in each() {
                let values = of(fold).context("found no intervals of a level")?;
                cells.extend(Vec::<f64>::try_from(values.f_select(1, at as i64)?.f_contiguous()?)?);
            }
            Ok(Cells::Number(cells))
        };
        let steps = || {
            each().flat_map(|(_, name, fold)| fold.rows.iter().enumerate().map(move |of| (name, fold, of)))
        };
        let mut table = LongTable::default();
        table.add("series", Cells::Text(steps().map(|(name, ..)| name.clone()).collect()))?;
        table.add("cutoff", time(steps().map(|(_, fold, _)| fold.cutoff - 1).collect()))?;
        table.add("time", time(steps().map(|(.., (_, &row))| row).collect()))?;
        table.add("step", Cells::Integer(steps().map(|(.., (step, _))| step as i64 + 1).collect()))?;
        table.add("actual", number(&|fold| Some(fold.actual.shallow_clone()))?)?;
        table.add("forecast", number(&|fold| Some(fold.made.shallow_clone()))?)?;
        for (at, level) in self.model().backtest.levels().enumerate() {
            for (end, prefix) in ["lo", "hi"].into_iter().enumerate() {
                let cells = number(&|fold| Some(fold.ends.get(at)?.1[end].shallow_clone()))?;
                table.add(format!("{prefix}-{level}"), cells)?;
            }
        }
        Ok(table)
    }

    /// Returns the errors as text: of each fold, of each time step, and of all models.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn table(&self) -> Result<String> {
        let Model { name, backtest, mase, .. } = self.model();
        let (folds, horizon) = (backtest.folds.len(), self.module.windows().horizon);
        let mut text = format!(
            "Backtest of {name}{}: {}, {} ahead\n",
            match self.refit {
                Some(true) => ", trained before each cutoff",
                Some(false) => ", trained before the first cutoff",
                None => "",
            },
            count(folds as u64, "fold"),
            count(horizon as u64, "step")
        );
        let after =
            |fold: &Fold| self.module.series().timestamps.labels_of(fold.cutoff - 1..fold.cutoff).concat();
        let shown = || backtest.folds.iter().take(MOST_LINES);
        let width = shown().map(|fold| after(fold).len()).chain([AFTER.len()]).max().unwrap_or_default();
        // Writing to a string cannot fail.
        let mut line = |name: &str, metrics: String, mase: String| {
            let _ = writeln!(text, "  {name:<width$}{metrics}{mase:>WIDTH$}");
        };
        let names = SHOWN.into_iter().map(|metric| format!("{:>WIDTH$}", metric.name())).collect();
        line(AFTER, names, "mase".into());
        for (at, fold) in shown().enumerate() {
            line(&after(fold), self.cells(at..at + 1, 0..horizon)?, cell(mase[at]));
        }
        if folds > MOST_LINES {
            let more = count((folds - MOST_LINES) as u64, "more fold");
            line(&format!("and {more} (results.json)"), String::new(), String::new());
        }
        if (2..=MOST_LINES).contains(&horizon) {
            for step in 0..horizon {
                line(&format!("step {}", step + 1), self.cells(0..folds, step..step + 1)?, String::new());
            }
        }
        line("all", self.cells(0..folds, 0..horizon)?, cell(self.model().mean_mase()));
        self.write_models(&mut text);
        if self.too_much_work {
            text += LEFT_OUT;
        }
        for coverage in &self.coverage {
            let Coverage { level, all, .. } = coverage;
            let _ = writeln!(
                text,
                "Coverage of the {level} % level: {:.1} % of {all} values",
                coverage.percent()
            );
        }
        for level in &self.left_out {
            let needed = level.needed();
            let _ = writeln!(
                text,
                "The {level} % level is left out: it needs {needed} errors of earlier forecasts of each step (a network has none beyond its horizon)"
            );
        }
        Ok(text)
    }

    /// Returns the metrics of some folds and time steps as cells of a line.
    fn cells(&self, folds: std::ops::Range<usize>, steps: std::ops::Range<usize>) -> Result<String> {
        let of = |metric| self.model().backtest.metric(metric, folds.clone(), steps.clone());
        SHOWN
            .into_iter()
            .map(|metric| Ok(format!("{:>WIDTH$}", of(metric)?.map_or(String::new(), number))))
            .collect()
    }

    fn write_models(&self, text: &mut String) {
        let _ = writeln!(text, "Models             {:>10}{:>12}", "MAE", "MASE");
        let mut models: Vec<&Model> = self.models.iter().collect();
        models.sort_by(|a, b| a.mae.total_cmp(&b.mae));
        for model in models {
            let mase = cell(model.mean_mase());
            let _ = writeln!(text, "  {:<16} {:>10}{mase:>12}", model.name, number(model.mae));
        }
    }

    /// Returns the results as JSON.
    pub fn json(&self, data: &str, folder: &Path) -> Value {
        let Model { backtest, mase, .. } = self.model();
        let (folds, horizon) = (backtest.folds.len(), self.module.windows().horizon);
        let metrics = |folds: std::ops::Range<usize>, steps: std::ops::Range<usize>| -> Map<String, Value> {
            let value =
                |metric: &MetricName| backtest.metric(*metric, folds.clone(), steps.clone()).ok().flatten();
            MetricName::OF_NUMBERS
                .iter()
                .filter_map(|metric| Some((metric.name().to_owned(), value(metric)?.into())))
                .collect()
        };
        let of_folds = backtest.folds.iter().enumerate().map(|(at, fold)| {
            let mut values = metrics(at..at + 1, 0..horizon);
            values.insert("mase".into(), mase[at].into());
            let cutoff = self.module.series().timestamps.labels_of(fold.cutoff - 1..fold.cutoff).concat();
            json!({"cutoff": cutoff, "rows": fold.cutoff, "metrics": values})
        });
        let of_steps =
            (0..horizon).map(|step| json!({"step": step + 1, "metrics": metrics(0..folds, step..step + 1)}));
        let of_models = self
            .models
            .iter()
            .map(|model| (model.name.clone(), json!({"mae": model.mae, "mase": model.mean_mase()})));
        let coverage = self.coverage.iter().map(Coverage::json);
        let mut all = metrics(0..folds, 0..horizon);
        all.insert("mase".into(), self.model().mean_mase().into());
        json!({
            "model": self.model().name,
            "data": data,
            "folder": folder,
            "refit": self.refit,
            "metrics": all,
            "folds": of_folds.collect::<Vec<_>>(),
            "steps": of_steps.collect::<Vec<_>>(),
            "models": of_models.collect::<Map<_, _>>(),
            "coverage": coverage.collect::<Vec<_>>(),
            "levels_left_out": self.left_out,
        })
    }
}

/// Returns a number as text, or nothing for NaN.
fn cell(value: f64) -> String {
    if value.is_nan() { String::new() } else { number(value) }
}

/// Counts the actual values within the intervals of each level.
fn coverage(backtest: &Backtest) -> Result<Vec<Coverage>> {
    let of_level = |(at, level)| {
        let mut all = Coverage { level, within: 0, all: 0 };
        for fold in &backtest.folds {
            let Some((_, ends)) = fold.ends.get(at) else { continue };
            all.add(&fold.actual, ends)?;
        }
        Ok(all)
    };
    backtest.levels().enumerate().map(of_level).collect()
}
