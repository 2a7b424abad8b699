//! One run from its configuration to its results.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use text_recognizer::lit_models::LitModel;
use text_recognizer::models::Placement;

use crate::cli::{Run, RunConfig};
use crate::registry::{self, Data};
use crate::say;
use crate::time_series::SeriesDataModule;
use crate::trainer::callbacks::{ProgressReport, StopReason};
use crate::trainer::loggers::{JsonLines, TensorBoard};
use crate::trainer::{
    Fit, FitSummary, Loaders, LrFind, Record, RunFolder, Signals, checkpoint, evaluate, lr_find,
};

mod forecasts;
mod report;

use forecasts::Comparison;
pub use forecasts::{ForecastArgs, run_forecast};

/// Trains, tests and reports.
///
/// # Errors
/// Whatever goes wrong on the way, with where it did.
pub fn run(run: &Run) -> Result<ExitCode> {
    if run.args.print_config {
        return say::result(serde_json::to_string_pretty(&run.config)?).map(|()| ExitCode::SUCCESS);
    }
    let mut config = run.config.clone();
    let (model, data) = (registry::model(&config.model)?, registry::data_module(&config.data)?);
    let device = config.trainer.resolve_device()?;
    // Heard from here on, so that no signal finds a half-made run.
    let signals = Signals::listen()?;
    let data = data.build(&config.data_config, &config.model_config)?;
    if let (Some(baseline), Data::Series(series)) = (model.as_baseline(), &data) {
        return forecasts::run_baseline(run, baseline, series);
    }
    let module = data.module();
    module.prepare_data()?;
    let splits = module.setup()?;
    let build = |config: &RunConfig| -> Result<Box<dyn LitModel>> {
        let placement = Placement { device, kind: config.trainer.kind(), seed: config.trainer.seed };
        let lit =
            model.build(&config.model_config, &config.lit, &module.config(), data.scaler(), placement)?;
        if let Some(path) = config.trainer.load_checkpoint.as_ref().filter(|_| run.resume.is_none()) {
            let weights = checkpoint::read(path)?.tensors;
            lit.parameters()
                .load(&weights)
                .with_context(|| format!("--load_checkpoint {}", path.display()))?;
        }
        Ok(lit)
    };
    let mut lit = build(&config)?;
    config.trainer.set_threads(&*lit);
    let loaders = Loaders::new(splits, &config.trainer, module.shuffle(config.trainer.seed), device)?;

    let folder = open_folder(run)?;
    if let Some(mode) = config.lr_find.lr_find.take().filter(|_| run.resume.is_none()) {
        match find_rate(mode, run, &*lit, &loaders, folder.as_ref(), &signals)? {
            ControlFlow::Break(code) => return Ok(code),
            ControlFlow::Continue(lr) => config.lit.optimizer.lr = lr,
        }
        lit = build(&config)?;
    }
    let (config, lit) = (&config, &*lit);
    let description = json!({"run": config, "data": module.config(), "scaler": data.scaler()});
    let mut fit = Fit::new(&config.trainer, lit, &loaders, folder.as_ref(), description)?.signals(&signals);
    if log::log_enabled!(log::Level::Info) {
        fit = fit.callback(ProgressReport::new(config.trainer.epochs()));
        report::summary(lit, &loaders, device)?;
    }
    if let Some(folder) = &folder {
        let board = TensorBoard::create(folder.path(), &hparams(config)?, &fit.metric_names())?;
        fit = fit.logger(JsonLines::open(&folder.path().join("metrics.jsonl"))?).logger(board);
    }
    if let Some(resume) = &run.resume {
        fit.resume(&resume.checkpoint)?;
    }
    if let Some(folder) = &folder {
        // Again: with the rate that a sweep has found, or the budget that a resumed run now has.
        folder.write("config.json", &(serde_json::to_string_pretty(config)? + "\n"))?;
    }
    let summary = fit.run()?;
    let profile = fit.profile();
    if !profile.is_empty() {
        say::note(profile);
    }
    if let (StopReason::Signal(number), Some(folder)) = (&summary.stop, &folder) {
        say::note(format_args!("stopped by signal {number}; to continue:\n  {}", resume_command(folder)));
        return Ok(ExitCode::from(128 + *number as u8));
    }

    if let Some(best) = fit.best_path() {
        lit.parameters().load(&checkpoint::read(&best)?.tensors)?;
    }
    let results = results(lit, &loaders, config, &summary)?;
    fit.finish_loggers(&results)?;
    if let Some(folder) = &folder {
        report::draw_metrics(folder, config.trainer.steps_per_epoch(&loaders))?;
    }
    let comparison = match &data {
        Data::Series(series) => forecast(config, lit, &loaders, series, folder.as_ref())?,
        Data::Classes(_) => None,
    };
    finish(run, config, folder.as_ref(), &summary, &results, comparison.as_ref())?;
    Ok(ExitCode::SUCCESS)
}

/// The learning rate that a sweep suggests, or the end of a run that was only to sweep or is asked to stop.
fn find_rate(
    mode: LrFind,
    run: &Run,
    lit: &dyn LitModel,
    loaders: &Loaders,
    folder: Option<&RunFolder>,
    signals: &Signals,
) -> Result<ControlFlow<ExitCode, f64>> {
    let sweep = match lr_find(&run.config.lr_find, &run.config.trainer, lit, loaders, signals)? {
        ControlFlow::Continue(sweep) => sweep,
        ControlFlow::Break(number) => {
            say::note(format_args!(
                "stopped by signal {number} in the learning-rate sweep: there is nothing to continue"
            ));
            return Ok(ControlFlow::Break(ExitCode::from(128 + number as u8)));
        }
    };
    let found = report::sweep(&sweep, folder)?;
    if mode == LrFind::Fit {
        log::info!("{found}");
        return Ok(ControlFlow::Continue(sweep.suggestion));
    }
    if let Some(folder) = folder {
        folder.keep();
    }
    let json =
        || json!({"lr": sweep.suggestion, "reason": sweep.reason, "folder": folder.map(RunFolder::path)});
    say::result(if run.args.json { json().to_string() } else { found })?;
    Ok(ControlFlow::Break(ExitCode::SUCCESS))
}

/// Forecasts the validation part of a series, where there is one, and compares.
fn forecast(
    config: &RunConfig,
    lit: &dyn LitModel,
    loaders: &Loaders,
    series: &SeriesDataModule,
    folder: Option<&RunFolder>,
) -> Result<Option<Comparison>> {
    let Some(forecast) = forecasts::validation(lit, loaders, series)? else { return Ok(None) };
    if let Some(folder) = folder {
        forecasts::keep(folder, &forecast, series)?;
    }
    forecasts::compare(&config.model, &forecast, series).map(Some)
}

fn open_folder(run: &Run) -> Result<Option<RunFolder>> {
    let config = &run.config;
    if let Some(resume) = &run.resume {
        return RunFolder::open(&resume.folder).map(Some);
    }
    if config.trainer.fast_dev_run {
        return Ok(None);
    }
    let folder = RunFolder::create(&config.trainer.log_dir, &format!("{}-{}", config.model, config.data))?;
    folder.write("config.json", &(serde_json::to_string_pretty(config)? + "\n"))?;
    Ok(Some(folder))
}

/// The flags as flat names and values.
fn hparams(config: &RunConfig) -> Result<Vec<(String, Value)>> {
    fn flat(key: &str, value: Value, into: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(object) => object.into_iter().for_each(|(key, value)| flat(&key, value, into)),
            Value::Null => {}
            value => into.push((key.to_owned(), value)),
        }
    }
    let mut all = Vec::new();
    flat("", serde_json::to_value(config)?, &mut all);
    Ok(all)
}

/// What continues the run, as it can be typed where this process was started.
fn resume_command(folder: &RunFolder) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "run_experiment".to_owned());
    format!("{program} --resume {}", folder.path().display())
}

/// Validation and test of the weights that the run is judged by: the best where there is a checkpoint.
fn results(
    lit: &dyn LitModel,
    loaders: &Loaders,
    config: &RunConfig,
    summary: &FitSummary,
) -> Result<Record> {
    let kind = config.trainer.matmul_kind();
    let mut values = Vec::new();
    for (stage, loader) in [("val", &loaders.val), ("test", &loaders.test)] {
        if let Some(loader) = loader {
            values.extend(evaluate(lit, loader, stage, kind)?);
        }
    }
    Ok(Record { epoch: summary.epochs, step: summary.steps, values })
}

/// Results last: to the run's folder, and to standard output.
fn finish(
    run: &Run,
    config: &RunConfig,
    folder: Option<&RunFolder>,
    summary: &FitSummary,
    results: &Record,
    comparison: Option<&Comparison>,
) -> Result<()> {
    let mut json = report::json(config, folder.map(RunFolder::path), summary, results);
    if let Some(comparison) = comparison {
        json["forecast"] = comparison.json();
    }
    if let Some(folder) = folder {
        folder.write("results.json", &(serde_json::to_string_pretty(&json)? + "\n"))?;
    }
    if run.args.json {
        return say::result(json);
    }
    say::result(report::table(summary, results).trim_end())?;
    if let Some(comparison) = comparison {
        say::result(comparison.table().trim_end())?;
    }
    let place = folder.map_or(Path::new("no files were kept"), RunFolder::path);
    say::result(place.display())
}
