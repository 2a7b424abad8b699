//! Runs one experiment, from its configuration to its results.

use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tch::Device;
use text_recognizer::checkpoint;
use text_recognizer::data::{DataIdentity, DataSplits};
use text_recognizer::lit_models::LitModel;
use text_recognizer::nn::Placement;

use super::config::{RunConfig, flatten};
use super::finish::{Results, finish, metadata};
use super::refit::{Refit, Validated};
use super::registry::{self, Data, ModelKind, Network, OnDownload};
use super::{Outcome, Resume};
use crate::process;
use crate::report::plots;
use crate::report::{ModelSummary, history};
use crate::tasks::Trained;
use crate::terminal::causes;
use crate::time_series::Baseline;
use crate::trainer::callbacks::{Callback, Monitor, StopReason};
use crate::trainer::checkpointing::ResumePoint;
use crate::trainer::loggers::{JsonLines, TensorBoard};
use crate::trainer::{
    AfterLrFind, Fit, FitSummary, Loaders, LrFindConfig, LrFindResult, Record, RunFolder, Signals, Strategy,
    TrainerConfig, evaluate, lr_find,
};

/// A run to start or to resume.
#[derive(Debug, Clone)]
pub struct Experiment<'a> {
    /// The run's configuration.
    pub config: RunConfig,
    /// The run to resume; `None` for a new run.
    pub resume: Option<Resume>,
    /// The signals that stop the run.
    pub signals: &'a Signals,
    /// The processes that train together.
    pub strategy: &'a dyn Strategy,
}

/// An observer of a run.
pub trait Reporter {
    /// Returns a callback that shows the progress of downloads, if any.
    fn download(&self) -> Option<OnDownload> {
        None
    }

    /// Is called before training.
    fn on_start(&self, _summary: &ModelSummary) {}

    /// Is called with the result of the learning-rate finder; `plot` is the file of its plot.
    fn on_lr_found(&self, _result: &LrFindResult, _plot: Option<&Path>) {}

    /// Returns a callback that shows the progress of a run with at most `max_epochs` epochs and these metrics, if any.
    fn progress(
        &self,
        _max_epochs: u64,
        _metrics: &[String],
        _monitors: Vec<Monitor>,
    ) -> Option<Box<dyn Callback>> {
        None
    }
}

/// Trains and evaluates the model of the configuration, and writes the results. Prints nothing.
///
/// # Errors
/// Fails if the configuration is impossible, if the data or a file cannot be used, or if training fails.
pub fn fit(experiment: &Experiment, reporter: &dyn Reporter) -> Result<Outcome> {
    let config = &experiment.config;
    let (model, data) = (registry::model(&config.model)?, registry::data(&config.data)?);
    let device = config.trainer.device.resolve()?;
    if let Some(resume) = &experiment.resume {
        experiment.signals.end_at_once(Some(&resume.folder), None);
    }
    let from = experiment.resume.as_ref().map(Resume::read).transpose()?.flatten();
    let data = data.build(&config.data_config, model.target(&config.model_config)?, reporter.download())?;
    process::return_memory();
    // With numbers in place of `auto`, a run and its configuration do not depend on the rule that found them.
    let mut config = RunConfig { data_config: data.config.clone(), ..config.clone() };
    let identity = data.module.identity()?;
    if let (Some(resume), Some(from)) = (&experiment.resume, &from) {
        resume.check_config(from, &config)?;
        resume.check_data(from, identity.as_ref())?;
    }
    let (data, identity) = (&data, identity.as_ref());
    match &model.kind {
        ModelKind::Network(network) => {
            data.module.prepare_data()?;
            let splits = data.module.setup()?;
            process::return_memory();
            config.trainer = config.trainer.resolved(splits.train.len());
            let trainer = config.trainer.effective();
            let experiment = &Experiment { config, ..experiment.clone() };
            Run { experiment, reporter, trainer, network, data, identity, device, from }.run(splits)
        }
        ModelKind::Baseline(baseline) => {
            run_baseline(&Experiment { config, ..experiment.clone() }, *baseline, data, identity)
        }
    }
}

/// Runs a baseline: the same results as a network, without training.
fn run_baseline(
    experiment: &Experiment,
    baseline: Baseline,
    data: &Data,
    identity: Option<&DataIdentity>,
) -> Result<Outcome> {
    let config = &experiment.config;
    ensure!(
        !data.refits(),
        "cannot use --refit_on_all with {0}: {0} has no training; try without this flag",
        config.model
    );
    config.trainer.device.set_threads(0, 0);
    let trained = Trained::Baseline(baseline);
    let folder = open_folder(experiment)?;
    if let Some(folder) = &folder {
        std::fs::create_dir_all(folder.checkpoints()).context("cannot create the folder of checkpoints")?;
        checkpoint::write(&folder.best(), &[], &metadata(config, data, identity)?)?;
    }
    experiment.signals.end_at_once(None, folder.as_ref());
    let best = folder.as_ref().map(RunFolder::best);
    let finished =
        finish(config, folder.as_ref(), best.as_deref(), &*data.task, &trained, Results::default())?;
    folder.iter().for_each(RunFolder::keep);
    Ok(Outcome::Finished(Box::new(finished)))
}

/// A run of a network.
struct Run<'a> {
    experiment: &'a Experiment<'a>,
    reporter: &'a dyn Reporter,
    trainer: TrainerConfig,
    network: &'a Network,
    data: &'a Data,
    identity: Option<&'a DataIdentity>,
    device: Device,
    /// The checkpoint to continue from.
    from: Option<ResumePoint>,
}

impl Run<'_> {
    fn run(&self, splits: DataSplits) -> Result<Outcome> {
        let mut config = self.experiment.config.clone();
        let mut lit = self.lit(&config)?;
        let loaders = Rc::new(self.loaders(splits, &*lit)?);
        // From here on, a signal stops the learning-rate finder or the training loop after a step.
        self.experiment.signals.hold();
        let folder = open_folder(self.experiment)?;
        let folder = folder.as_ref();

        let finder = config.lr_find.lr_find.take().filter(|_| self.from.is_none());
        if let Some(after) = finder {
            match self.find_lr(after, &config.lr_find, &*lit, &loaders, folder)? {
                ControlFlow::Break(outcome) => return Ok(outcome),
                ControlFlow::Continue(lr) => config.lit.optimizer.lr = lr,
            }
            lit = self.lit(&config)?;
        }
        self.train(&config, &lit, &loaders, folder)
    }

    fn loaders(&self, splits: DataSplits, lit: &dyn LitModel) -> Result<Loaders> {
        let trainer = &self.trainer;
        let batch_size = trainer.loaders.batch_size(splits.train.len());
        trainer.device.set_threads(lit.parameters().count(), batch_size);
        let shuffle = self.data.module.shuffle(trainer.seed);
        let place = (self.device, trainer.device.kind());
        Loaders::new(splits, &trainer.loaders, shuffle, place, self.experiment.strategy)
    }

    /// Searches the learning rate for training. Returns `Break` if the run ends after the search.
    fn find_lr(
        &self,
        after: AfterLrFind,
        config: &LrFindConfig,
        lit: &dyn LitModel,
        loaders: &Loaders,
        folder: Option<&RunFolder>,
    ) -> Result<ControlFlow<Outcome, f64>> {
        let Experiment { signals, strategy, .. } = self.experiment;
        let result = match lr_find(config, &self.trainer, lit, loaders, signals, *strategy)? {
            ControlFlow::Continue(result) => result,
            ControlFlow::Break(signal) => {
                let profile = String::new();
                return Ok(ControlFlow::Break(Outcome::Stopped { signal, folder: None, profile }));
            }
        };
        let plot = folder.and_then(|folder| {
            let written = write_lr_find(&result, folder);
            written.inspect_err(|error| log::warn!("{}", causes(error))).ok()
        });
        if after == AfterLrFind::Only {
            folder.into_iter().for_each(RunFolder::keep);
            let folder = folder.map(|folder| folder.path().to_owned());
            return Ok(ControlFlow::Break(Outcome::LrFound { result, folder, plot }));
        }
        self.reporter.on_lr_found(&result, plot.as_deref());
        Ok(ControlFlow::Continue(result.suggestion))
    }

    /// Trains, and writes to the loggers how the run ended.
    fn train(
        &self,
        config: &RunConfig,
        lit: &Rc<dyn LitModel>,
        loaders: &Rc<Loaders>,
        folder: Option<&RunFolder>,
    ) -> Result<Outcome> {
        let Experiment { signals, strategy, .. } = self.experiment;
        let metadata = metadata(config, self.data, self.identity)?;
        let mut fit = Fit::new(&self.trainer, &**lit, loaders, *strategy, folder, metadata)?.signals(signals);
        self.reporter.on_start(&ModelSummary::new(&**lit, &loaders.train, rows(loaders), self.device)?);
        let mut outcome = self
            .start(config, &mut fit, folder)
            .and_then(|()| self.results(&mut fit, config, lit, loaders, folder));
        let logged = match &outcome {
            Ok(Outcome::Finished(finished)) => fit.end_loggers(finished.errors.is_empty()),
            // A run that a signal stopped has not ended.
            Ok(_) => Ok(()),
            Err(_) => fit.end_loggers(false),
        };
        if let (Ok(Outcome::Finished(finished)), Err(error)) = (&mut outcome, logged) {
            finished.errors.push(error);
        }
        outcome
    }

    /// Restores the state of a resumed run, and writes the configuration.
    fn start(&self, config: &RunConfig, fit: &mut Fit, folder: Option<&RunFolder>) -> Result<()> {
        if let Some(from) = &self.from {
            fit.resume(from)?;
        }
        if let Some(folder) = folder {
            // Only now, because a run that cannot be resumed stays as it is.
            let board = TensorBoard::create(folder.path(), &hparams(config)?)?;
            fit.add_logger(JsonLines::open(&folder.metrics())?);
            fit.add_logger(board);
            if self.experiment.resume.is_some() {
                fit.rewind(self.from.as_ref())?;
            }
            self.write_config(config, fit, folder)?;
        }
        // This follows the resume, which restores the best values so far.
        if let Some(progress) = self.reporter.progress(fit.max_epochs(), &fit.metric_names(), fit.monitors())
        {
            fit.add_callback(progress);
        }
        Ok(())
    }

    /// Writes the configuration, again for a new run, whose learning-rate finder may have changed it. A resumed run without anything
    /// left to train keeps its budget, which reproduces it.
    fn write_config(&self, config: &RunConfig, fit: &Fit, folder: &RunFolder) -> Result<()> {
        let mut config = config.clone();
        if self.from.is_some() && fit.is_over()? {
            // A checkpoint of an earlier version does not have the budget.
            let Some(budget) = fit.budget_before() else { return Ok(()) };
            config.trainer.budget = budget.clone();
        }
        folder.write_config(&config)
    }

    /// Runs the loop, loads the best weights into `lit`, evaluates them and writes the results.
    fn results(
        &self,
        fit: &mut Fit,
        config: &RunConfig,
        lit: &Rc<dyn LitModel>,
        loaders: &Rc<Loaders>,
        folder: Option<&RunFolder>,
    ) -> Result<Outcome> {
        let summary = fit.run()?;
        let profile = fit.profile();
        if let StopReason::Signal(signal) = summary.stop {
            let folder = folder.map(|folder| folder.path().to_owned());
            return Ok(Outcome::Stopped { signal, folder, profile });
        }
        // All is saved, so that a signal need not wait for evaluation and plots.
        self.experiment.signals.end_at_once(folder.map(RunFolder::path), None);
        let best = fit.best_path();
        if let Some(best) = &best {
            let load = || lit.parameters().load(&checkpoint::read_weights(best)?);
            load().context("cannot evaluate the best weights")?;
        }
        let values = self.evaluate(&**lit, loaders, &summary)?;
        let mut errors: Vec<_> = fit.log_test(&values).err().into_iter().collect();
        if let Some(folder) = folder {
            // The plot reads the file.
            errors.extend(fit.flush_loggers().err());
            let steps = self.trainer.gradients.steps(loaders.train.len());
            errors.extend(history::plot_metrics(&folder.metrics(), &folder.artifact("metrics"), steps).err());
        }
        let refit = match self.refit(config, &summary)? {
            Ok(refit) => refit,
            Err(signal) => {
                let folder = folder.map(|folder| folder.path().to_owned());
                return Ok(Outcome::Stopped { signal, folder, profile });
            }
        };
        self.experiment.signals.end_at_once(folder.map(RunFolder::path), None);
        let trained = Trained::Network(Rc::clone(lit), Rc::clone(loaders), summary.clone());
        let results = Results { values, summary: Some(summary), profile, errors, refit };
        let task = &*self.data.task;
        Ok(Outcome::Finished(Box::new(finish(config, folder, best.as_deref(), task, &trained, results)?)))
    }

    /// Trains a model on all rows if `--refit_on_all` is set. Returns the signal that stopped the training instead.
    fn refit(&self, config: &RunConfig, summary: &FitSummary) -> Result<Result<Option<Refit>, i32>> {
        let Self { network, data, identity, device, reporter, .. } = *self;
        let Experiment { signals, strategy, .. } = self.experiment;
        if !data.refits() || config.trainer.fast_dev_run {
            return Ok(Ok(None));
        }
        let refit = Validated { config, network, data, identity, device, summary }
            .refit(signals, *strategy, reporter)?;
        Ok(refit.map(Some))
    }

    /// Builds the network with its loss, and loads the weights of `--load_checkpoint` into it.
    fn lit(&self, config: &RunConfig) -> Result<Rc<dyn LitModel>> {
        let trainer = &config.trainer;
        let (device, kind) = (self.device, trainer.device.kind());
        let mut placement = Placement { device, kind, ..Placement::cpu(trainer.seed) };
        if let Some(from) = &self.from {
            placement = placement.for_weights(&from.weights.tensors);
        }
        let shapes = self.data.task.network_shapes(self.data.module.spec(), &config.lit)?;
        let model = self.network.build(&config.model_config, &shapes, placement)?;
        let lit = self.data.task.lit(model, &config.lit)?;
        if let Some(path) = trainer.load_checkpoint.as_ref().filter(|_| self.from.is_none()) {
            let load = || lit.parameters().load(&checkpoint::read_weights(path)?);
            load().with_context(|| {
                format!("cannot load the weights of --load_checkpoint {}", path.display())
            })?;
        }
        Ok(lit)
    }

    /// Evaluates the weights in `lit` on the validation and test split.
    fn evaluate(&self, lit: &dyn LitModel, loaders: &Loaders, summary: &FitSummary) -> Result<Record> {
        let kind = self.trainer.device.matmul_kind();
        let mut values = Vec::new();
        for (stage, loader) in [("val", &loaders.val), ("test", &loaders.test)] {
            if let Some(loader) = loader {
                values.extend(evaluate(lit, loader, stage, kind, self.experiment.strategy)?);
            }
        }
        Ok(Record { epoch: summary.epochs, step: summary.steps, values })
    }
}

/// Opens the run's folder; `None` for a run that writes no files.
fn open_folder(experiment: &Experiment) -> Result<Option<RunFolder>> {
    let config = &experiment.config;
    if let Some(resume) = &experiment.resume {
        return RunFolder::open(&resume.folder).map(Some);
    }
    if config.trainer.fast_dev_run || !experiment.strategy.is_main() {
        return Ok(None);
    }
    let folder = RunFolder::create(&config.folder.log_dir, &config.folder_name())?;
    folder.write_config(config)?;
    Ok(Some(folder))
}

/// Writes the points of the learning-rate finder as CSV, plots them, and returns the file of the plot.
fn write_lr_find(result: &LrFindResult, folder: &RunFolder) -> Result<std::path::PathBuf> {
    let stem = folder.artifact("lr_find");
    result.write_csv(&stem.with_extension("csv"))?;
    plots::lr_find(&stem, &result.lrs, &result.losses, Some(result.suggestion))?;
    Ok(stem.with_extension("png"))
}

/// Returns the number of rows of the training, validation and test split.
fn rows(loaders: &Loaders) -> [usize; 3] {
    [Some(&loaders.train), loaders.val.as_ref(), loaders.test.as_ref()]
        .map(|loader| loader.map_or(0, |loader| loader.rows()))
}

/// Returns the flags with a value, as hyperparameters for TensorBoard.
fn hparams(config: &RunConfig) -> Result<Vec<(String, Value)>> {
    let all = flatten(&serde_json::to_value(config)?);
    Ok(all.into_iter().filter(|(_, value)| !value.is_null()).collect())
}
