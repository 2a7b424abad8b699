//! Backtests a model: trains it before one or several cutoffs, and forecasts from each.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use tch::Tensor;
use text_recognizer::util::files::read_limited;

use super::registry::{self, Data, ModelKind};
use super::{
    Experiment, ModelEntry, Outcome, Reporter, Resume, RunConfig, TrainedForecaster, fit, load_forecaster,
};
use crate::format::count;
use crate::tasks::{BacktestReport, Comparable};
use crate::time_series::{
    Backtest, Baseline, BaselineForecaster, EnsembleConfig, Fill, Fold, FoldConfig, Origins, SeriesDataModule,
};
use crate::trainer::{AfterLrFind, RunFolder, config_in, final_in, result_in};

/// The name of an ensemble in tables.
const ENSEMBLE: &str = "ensemble";

/// The name of the folder of the runs that train the models.
pub const FOLDS: &str = "folds";

/// The outcome of a backtest that did not fail.
pub enum BacktestOutcome {
    /// The backtest finished: its results, and its folder.
    Finished(Box<BacktestReport>, RunFolder),
    /// A signal stopped it. The folder is that to continue from.
    Stopped(i32, PathBuf),
}

/// The configuration of a backtest. It writes it to `config.json`.
#[derive(Debug, Clone, Serialize)]
pub struct BacktestConfig<'a> {
    /// The flags of a run.
    #[serde(flatten)]
    pub run: &'a RunConfig,
    /// The folds.
    pub folds: &'a FoldConfig,
    /// The models.
    pub ensemble: &'a EnsembleConfig,
}

/// A run of the trainer shows nothing of its own.
struct Silent;

impl Reporter for Silent {}

/// Forecasts from each cutoff, and writes a table, a plot and the results. Trains in runs of their own, whose folders are in the
/// folder of the backtest; a resumed backtest continues with the run that was stopped. Levels of intervals without enough errors of
/// earlier forecasts are left out, or are an error if `strict` is set.
///
/// # Errors
/// Fails if the data is no series, if it has too few rows, or like [`fit()`].
pub fn backtest(
    experiment: &Experiment,
    folds: &FoldConfig,
    ensemble: &EnsembleConfig,
    strict: bool,
) -> Result<BacktestOutcome> {
    let config = &experiment.config;
    check(config, ensemble)?;
    let model = registry::model(&config.model)?;
    let data = registry::data(&config.data)?;
    let data = data.build(&config.data_config, model.target(&config.model_config)?, None)?;
    let module = series_of(&data, config)?;
    let windows = module.windows();
    let cutoffs = folds.cutoffs(module.series().len(), windows.horizon, windows.stride)?;
    let levels = data.task.levels();
    let origins = Origins { series: module.series(), folds, horizon: windows.horizon, levels, strict };
    check_actual(module, folds, &cutoffs)?;
    let mut members = vec![Member::of(config, &config.model)?];
    for name in &ensemble.ensemble {
        members.push(Member::of(config, name)?);
    }
    let trains = members.iter().any(|member| matches!(member.model.kind, ModelKind::Network(_)));
    check_training(config, folds, trains)?;
    let folder = open(experiment, folds, ensemble)?;
    if trains {
        experiment.signals.end_at_once(Some(folder.path()), None);
    } else {
        // There is nothing to continue.
        experiment.signals.end_at_once(None, Some(&folder));
    }
    let mut models = Vec::new();
    for member in &members {
        match member.folds(experiment, &folder, module, &origins, &cutoffs)? {
            Ok(folds) => models.push((member.name.clone(), Backtest::new(folds))),
            Err(signal) => return Ok(BacktestOutcome::Stopped(signal, folder.path().to_owned())),
        }
    }
    if ensemble.is_some() {
        let fold = |at: usize| -> Result<Fold> {
            let of_members: Vec<&Fold> = models.iter().map(|(_, member)| &member.folds[at]).collect();
            ensemble.combine.folds(&of_members)
        };
        let combined = Backtest::new((0..cutoffs.len()).map(fold).collect::<Result<_>>()?);
        models.insert(0, (ENSEMBLE.to_owned(), combined));
    }
    let rows = cutoffs.last().copied().unwrap_or_default()..module.series().len();
    let reach = windows.horizon.saturating_mul(windows.stride);
    let times = (reach, cutoffs.len());
    let comparable = Comparable::new(module.series(), &rows, module.baselines().season, times)?;
    let is_member = |baseline: &Baseline| members.iter().any(|member| member.name == baseline.name());
    let others = comparable.baselines.into_iter().filter(|baseline| !is_member(baseline));
    let others: Vec<_> = others
        .filter_map(|baseline| {
            // A baseline is left out if it has too few rows before a cutoff, or needs a season that is unknown.
            let folds =
                baseline_folds(baseline, module, &Origins { levels: &[], ..origins }, &cutoffs).ok()?;
            Some((baseline.name().to_owned(), Backtest::new(folds)))
        })
        .collect();
    models.extend(others);
    let refit = trains.then_some(folds.refit);
    let report = BacktestReport::new(module, models, levels, (refit, comparable.too_much_work))?;
    report.write(&folder)?;
    folder.write_results(&report.json(&config.data, folder.path()))?;
    folder.keep();
    Ok(BacktestOutcome::Finished(Box::new(report), folder))
}

/// A model of a backtest.
struct Member {
    name: String,
    model: &'static ModelEntry,
    config: RunConfig,
}

impl Member {
    /// Returns a model with the flags of `config`. A model other than that of `config` has the defaults of its own flags.
    fn of(config: &RunConfig, name: &str) -> Result<Self> {
        let model = registry::model(name)?;
        let mut config = config.clone();
        if name != config.model {
            let data = registry::data(&config.data)?;
            registry::check_pair(model, data)?;
            config.model = name.to_owned();
            config.model_config = registry::model_defaults(model, data)?;
            config.folder.name = None;
        }
        Ok(Self { name: name.to_owned(), model, config })
    }

    /// Forecasts from each cutoff. Returns the signal that stopped the training instead.
    fn folds(
        &self,
        experiment: &Experiment,
        folder: &RunFolder,
        module: &SeriesDataModule,
        origins: &Origins,
        cutoffs: &[usize],
    ) -> Result<Result<Vec<Fold>, i32>> {
        if let ModelKind::Baseline(baseline) = &self.model.kind {
            return Ok(Ok(baseline_folds(*baseline, module, origins, cutoffs)?));
        }
        let mut made = Vec::new();
        let mut trained: Option<TrainedForecaster> = None;
        for (&cutoff, number) in cutoffs.iter().zip(1..) {
            if trained.is_none() || origins.folds.refit {
                match self.train(experiment, folder, cutoff, number)? {
                    Ok(model) => trained = Some(model),
                    Err(signal) => return Ok(Err(signal)),
                }
            }
            let model = trained.as_ref().context("found no trained model")?;
            let of = (model.fill, model.season);
            made.push(origins.fold(&*model.forecaster, cutoff, of, model.intervals.as_ref())?);
            let (name, all) = (&self.name, cutoffs.len());
            log::info!("{name}, fold {number} of {all}: {}", count(cutoff as u64, "row"));
        }
        Ok(Ok(made))
    }

    /// Fails if an earlier run of a fold was trained before another cutoff, because the data has other rows now.
    fn check_cutoff(&self, earlier: &Path, cutoff: usize) -> Result<()> {
        let Ok(bytes) = read_limited(config_in(earlier), RunConfig::MAX_BYTES) else { return Ok(()) };
        let before: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let before = &before["data_config"]["windows"]["end_time"];
        ensure!(
            *before == json!(cutoff),
            "cannot resume the backtest: {} was trained on the first {before} rows, expected {cutoff}, because the data has another \
             number of rows now; try a new backtest",
            earlier.display()
        );
        Ok(())
    }

    /// Trains on the rows before a cutoff, or continues or reads an earlier run. Returns the model, or the signal that stopped the run.
    fn train(
        &self,
        experiment: &Experiment,
        folder: &RunFolder,
        cutoff: usize,
        number: usize,
    ) -> Result<Result<TrainedForecaster, i32>> {
        let mut config = self.config.clone();
        let windows = config.data_config.pointer_mut("/windows").and_then(Value::as_object_mut);
        let windows = windows.context("found no windows in the configuration of the data")?;
        windows.insert("end_time".into(), json!(cutoff));
        // The rows after the cutoff are the test of a backtest.
        windows.insert("test_time".into(), Value::Null);
        config.folder.log_dir = folder.path().join(FOLDS);
        config.folder.name = Some(if self.name == experiment.config.model {
            format!("fold_{number}")
        } else {
            format!("fold_{number}_{}", self.name)
        });
        let earlier = config.folder.log_dir.join(config.folder_name()).join("version_0");
        self.check_cutoff(&earlier, cutoff)?;
        let place = match config_in(&earlier).is_file() {
            true if result_in(&earlier).is_some_and(|file| file.ends_with("results.json")) => Some(earlier),
            true => {
                // The run has numbers in place of `auto`.
                let bytes = read_limited(config_in(&earlier), RunConfig::MAX_BYTES)?;
                let failed = || format!("cannot read the configuration of {}", earlier.display());
                let config = serde_json::from_slice(&bytes).with_context(failed)?;
                let allow_changed_data = experiment.resume.as_ref().is_some_and(|of| of.allow_changed_data);
                let resume = Resume { allow_changed_data, ..Resume::in_folder(earlier) };
                run(Experiment { config, resume: Some(resume), ..experiment.clone() })?
            }
            false => run(Experiment { config, resume: None, ..experiment.clone() })?,
        };
        experiment.signals.end_at_once(Some(folder.path()), None);
        match place {
            Some(place) => Ok(Ok(load_forecaster(&final_in(&place))?)),
            None => Ok(Err(experiment.signals.stop().unwrap_or_default())),
        }
    }
}

/// Fails if there is no value to compare forecasts with.
fn check_actual(module: &SeriesDataModule, folds: &FoldConfig, cutoffs: &[usize]) -> Result<()> {
    let (series, windows) = (module.series(), module.windows());
    let rows = cutoffs.iter().flat_map(|&cutoff| {
        (0..windows.horizon).map(move |step| folds.row(cutoff, step, windows.stride) as i64)
    });
    let rows = Tensor::f_from_slice(&rows.collect::<Vec<_>>())?;
    let actual = series.values.f_index_select(0, &rows)?;
    let present = actual.f_isnan()?.f_logical_not()?.f_any()?.f_int64_value(&[])? != 0;
    if present {
        return Ok(());
    }
    let known = series.values.f_isnan()?.f_logical_not()?.f_any_dim(1, false)?.f_nonzero()?;
    let last = if known.numel() == 0 { 0 } else { known.f_max()?.f_int64_value(&[])? + 1 };
    bail!(
        "cannot backtest: found no actual value after the cutoffs, expected at least one; try --end_time {last}, after the last value"
    )
}

/// Fails if flags of training have no effect.
fn check_training(config: &RunConfig, folds: &FoldConfig, trains: bool) -> Result<()> {
    ensure!(
        trains || !folds.refit,
        "cannot use --refit with {0}: {0} has no training; try without this flag",
        config.model
    );
    ensure!(
        !trains || config.data_config["source"]["csv"] != "-",
        "cannot backtest standard input: a run per fold reads the data again, expected a file"
    );
    ensure!(
        config.data_config["windows"]["test_time"].is_null(),
        "cannot use --test_time with backtest: the rows after each cutoff are its test; try --end_time"
    );
    Ok(())
}

/// Fails if a flag makes no sense for a backtest.
fn check(config: &RunConfig, ensemble: &EnsembleConfig) -> Result<()> {
    let mut names = vec![&config.model];
    for name in &ensemble.ensemble {
        ensure!(
            !names.contains(&name),
            "--ensemble: {name} is listed twice, or is --model; expected other models"
        );
        names.push(name);
    }
    ensure!(
        !config.trainer.fast_dev_run,
        "cannot use --fast_dev_run with backtest: it writes no files; try --max_epochs 1"
    );
    ensure!(
        config.lr_find.lr_find.is_none_or(|after| after != AfterLrFind::Only),
        "cannot use --lr_find only with backtest: nothing is trained"
    );
    Ok(())
}

fn series_of<'a>(data: &'a Data, config: &RunConfig) -> Result<&'a Rc<SeriesDataModule>> {
    data.series.as_ref().with_context(|| {
        format!("cannot backtest {}: expected the data of one time series, such as --data csv without --series_column", config.data)
    })
}

/// Opens the folder of the backtest.
fn open(experiment: &Experiment, folds: &FoldConfig, ensemble: &EnsembleConfig) -> Result<RunFolder> {
    if let Some(Resume { folder, .. }) = &experiment.resume {
        return RunFolder::open(folder);
    }
    let config = &experiment.config;
    let name = config.folder.name.clone().unwrap_or_else(|| format!("{}-backtest", config.folder_name()));
    let folder = RunFolder::create(&config.folder.log_dir, &name)?;
    folder.write_config(&BacktestConfig { run: config, folds, ensemble })?;
    Ok(folder)
}

fn baseline_folds(
    baseline: Baseline,
    module: &SeriesDataModule,
    origins: &Origins,
    cutoffs: &[usize],
) -> Result<Vec<Fold>> {
    let (windows, config) = (module.windows(), module.baselines());
    let forecaster = BaselineForecaster {
        baseline,
        config: config.clone(),
        horizon: windows.horizon,
        stride: windows.stride,
    };
    let fold = |&cutoff: &usize| origins.fold(&forecaster, cutoff, (Fill::None, config.season), None);
    cutoffs.iter().map(fold).collect()
}

/// Runs an experiment without messages. Returns its folder; `None` if a signal stopped it.
fn run(experiment: Experiment) -> Result<Option<PathBuf>> {
    let level = log::max_level();
    // The notes on the series were shown before.
    log::set_max_level(level.min(log::LevelFilter::Warn));
    let outcome = fit(&experiment, &Silent);
    log::set_max_level(level);
    match outcome? {
        Outcome::Finished(finished) => {
            let mut errors = finished.errors.into_iter();
            if let Some(error) = errors.next() {
                return Err(error);
            }
            Ok(finished.folder)
        }
        Outcome::Stopped { .. } => Ok(None),
        Outcome::LrFound { .. } => bail!("the run only searched a learning rate"),
    }
}
