//! The setup of a run: optimizer, monitors, callbacks and loggers.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;
use text_recognizer::lit_models::{LitModel, Metric};
use text_recognizer::optim::Schedule;

use super::Fit;
use crate::trainer::callbacks::{Callback, EarlyStopping, ModelCheckpoint, Monitor};
use crate::trainer::checkpointing::Saver;
use crate::trainer::config::TrainerConfig;
use crate::trainer::gradients::Accumulated;
use crate::trainer::loggers::Logger;
use crate::trainer::profiler::Profiler;
use crate::trainer::state::LoopState;
use crate::trainer::strategy::Strategy;
use crate::trainer::{Loaders, RunFolder, Signals};

impl<'a> Fit<'a> {
    /// Prepares a run of `lit` on `loaders`. If there is a `folder`, the run writes checkpoints to it, each with
    /// `metadata`, a JSON object.
    ///
    /// # Errors
    /// Fails if a value of the configuration is impossible, or a monitored metric does not exist.
    pub fn new(
        config: &'a TrainerConfig,
        lit: &'a dyn LitModel,
        loaders: &'a Loaders,
        strategy: &'a dyn Strategy,
        folder: Option<&'a RunFolder>,
        metadata: Value,
    ) -> Result<Self> {
        config.validate()?;
        let steps_per_epoch = config.gradients.steps(loaders.train.len());
        let max_epochs = config.budget.max_epochs(steps_per_epoch);
        let budget =
            max_epochs.saturating_mul(steps_per_epoch).min(config.budget.max_steps.unwrap_or(u64::MAX));
        let (parameters, lit_config) = (lit.parameters(), lit.config());
        let mut fit = Self {
            config,
            max_epochs,
            lit,
            loaders,
            strategy,
            folder: folder.filter(|_| strategy.is_main()),
            metadata,
            optimizer: lit.optimizer()?,
            schedule: Schedule::new(&lit_config.schedule, lit_config.optimizer.lr, budget)?,
            averaging: config.averaging.build(parameters),
            early_stopping: None,
            callbacks: Vec::new(),
            model_checkpoint: None,
            loggers: Vec::new(),
            signals: None,
            profiler: Profiler::new(config.logging.profiler.is_some()),
            state: LoopState::default(),
            accumulated: Accumulated::default(),
            restore_point: None,
            unsaved: Vec::new(),
            unwanted: Vec::new(),
            saver: Saver::default(),
            started: Instant::now(),
            saved: false,
            budget_before: None,
            elapsed_before: Duration::ZERO,
            saved_at: (0, Instant::now()),
            train_time: Duration::ZERO,
            train_batches: 0,
            losses: None,
        };
        fit.watch()?;
        Ok(fit)
    }

    /// Sets up early stopping and the best checkpoint, each with the metric that it monitors.
    fn watch(&mut self) -> Result<()> {
        let config = self.config;
        let names = self.metric_names();
        let monitor = |flag: &str, metric: &str, mode| -> Result<Monitor> {
            if !names.iter().any(|name| name == metric) {
                bail!(
                    "cannot monitor {metric} (--{flag}): no such metric, expected one of {}",
                    names.join(", ")
                );
            }
            Ok(Monitor::new(metric, mode))
        };
        // Without a validation split, the training loss replaces the validation loss.
        let fallback = |metric: &str| match &self.loaders.val {
            None if metric == "val_loss" => "train_loss".to_owned(),
            _ => metric.to_owned(),
        };
        let stop = &config.early_stopping;
        if stop.early_stop_patience > 0 {
            let metric = fallback(&stop.early_stop_monitor);
            let monitor = monitor("early_stop_monitor", &metric, stop.early_stop_mode)?;
            self.early_stopping = Some(EarlyStopping::new(monitor, stop, config.budget.min_epochs));
        }
        if let Some(folder) = self.folder {
            let keep = &config.checkpoint;
            let metric = fallback(&keep.checkpoint_monitor);
            let monitor = monitor("checkpoint_monitor", &metric, keep.checkpoint_mode)?;
            self.model_checkpoint =
                Some(ModelCheckpoint::new(folder.checkpoints(), monitor, keep.save_top_k));
        }
        Ok(())
    }

    /// Returns the names of the metrics in the record of a validation.
    pub fn metric_names(&self) -> Vec<String> {
        let of = |stage: &str, metrics: &[Box<dyn Metric>]| -> Vec<String> {
            let metrics = metrics.iter().map(|metric| metric.name());
            std::iter::once("loss").chain(metrics).map(|name| format!("{stage}_{name}")).collect()
        };
        let mut names = of("train", self.lit.metrics(true));
        if self.loaders.val.is_some() {
            names.extend(of("val", self.lit.metrics(false)));
        }
        names
    }

    /// Returns the monitors of the best checkpoint and of early stopping, with their best values so far.
    pub fn monitors(&self) -> Vec<Monitor> {
        let checkpoint = self.model_checkpoint.as_ref().map(ModelCheckpoint::monitor);
        let early_stopping = self.early_stopping.as_ref().map(|stopping| stopping.monitor().clone());
        checkpoint.into_iter().chain(early_stopping).collect()
    }

    /// Returns the number of epochs after which the run stops.
    pub fn max_epochs(&self) -> u64 {
        self.max_epochs
    }

    /// Adds a callback.
    pub fn callback(mut self, callback: Box<dyn Callback + 'a>) -> Self {
        self.add_callback(callback);
        self
    }

    /// Adds a callback, which may need the state of a resumed run.
    pub fn add_callback(&mut self, callback: Box<dyn Callback + 'a>) {
        self.callbacks.push(callback);
    }

    /// Adds a logger.
    pub fn logger(mut self, logger: impl Logger + 'a) -> Self {
        self.add_logger(logger);
        self
    }

    /// Adds a logger to a run that may be resumed.
    pub fn add_logger(&mut self, logger: impl Logger + 'a) {
        self.loggers.push(Box::new(logger));
    }

    /// Makes the run stop or save a checkpoint when a signal arrives.
    pub fn signals(mut self, signals: &'a Signals) -> Self {
        self.signals = Some(signals);
        self
    }
}
