//! Trains a model again on all rows, for `--refit_on_all`.

use std::rc::Rc;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tch::Device;
use text_recognizer::checkpoint;
use text_recognizer::data::DataIdentity;
use text_recognizer::lit_models::LitModel;
use text_recognizer::nn::Placement;

use super::finish::metadata;
use super::registry::{Data, Network};
use super::{Reporter, RunConfig};
use crate::format::count;
use crate::trainer::callbacks::StopReason;
use crate::trainer::{BatchLimit, Fit, FitSummary, Loaders, RunFolder, Signals, Strategy, TrainerConfig};

/// A model that was trained on all rows.
pub struct Refit {
    lit: Rc<dyn LitModel>,
    metadata: Value,
    /// The rows that it was trained on.
    pub rows: usize,
    /// The epochs that it was trained for.
    pub epochs: u64,
}

/// The validated run whose settings a model on all rows has.
pub struct Validated<'a> {
    /// The configuration, with numbers in place of `auto`.
    pub config: &'a RunConfig,
    /// The network.
    pub network: &'a Network,
    /// The data.
    pub data: &'a Data,
    /// The identity of the data.
    pub identity: Option<&'a DataIdentity>,
    /// The device of the weights.
    pub device: Device,
    /// The course of its training.
    pub summary: &'a FitSummary,
}

impl Validated<'_> {
    /// Trains a new network on all rows: with the settings of the validated run, for as many epochs as its best checkpoint had.
    /// Returns the signal that stopped the training instead.
    ///
    /// # Errors
    /// Fails if the training does.
    pub fn refit(
        &self,
        signals: &Signals,
        strategy: &dyn Strategy,
        reporter: &dyn Reporter,
    ) -> Result<Result<Refit, i32>> {
        let data =
            self.data.on_all_rows()?.context("cannot train on all rows: the data has no splits by time")?;
        let trainer = self.trainer();
        let epochs = trainer.budget.max_epochs.number().unwrap_or(1);
        let kind = trainer.device.kind();
        let placement = Placement { device: self.device, kind, ..Placement::cpu(trainer.seed) };
        let shapes = data.task.network_shapes(data.module.spec(), &self.config.lit)?;
        let model = self.network.build(&self.config.model_config, &shapes, placement)?;
        let lit = data.task.lit(model, &self.config.lit)?;
        if let Some(path) = &trainer.load_checkpoint {
            lit.parameters().load(&checkpoint::read_weights(path)?)?;
        }
        let shuffle = data.module.shuffle(trainer.seed);
        let loaders =
            Loaders::new(data.module.setup()?, &trainer.loaders, shuffle, (self.device, kind), strategy)?;
        let rows = data.series.as_ref().map_or(0, |module| module.series().len());
        log::info!("training again on all {} for {}", count(rows as u64, "row"), count(epochs, "epoch"));
        let metadata = metadata(self.config, &data, self.identity)?;
        signals.hold();
        let mut fit = Fit::new(&trainer, &*lit, &loaders, strategy, None, Value::Null)?.signals(signals);
        if let Some(progress) = reporter.progress(fit.max_epochs(), &fit.metric_names(), fit.monitors()) {
            fit.add_callback(progress);
        }
        if let StopReason::Signal(signal) = fit.run()?.stop {
            return Ok(Err(signal));
        }
        fit.swap_average()?;
        drop(fit);
        Ok(Ok(Refit { lit, metadata, rows, epochs }))
    }

    /// Returns the trainer's configuration without a validation split, early stopping and a search of the learning rate.
    fn trainer(&self) -> TrainerConfig {
        let mut trainer = self.config.trainer.clone();
        let best = self.summary.best.as_ref().map_or(self.summary.epochs, |best| best.epoch);
        trainer.budget.max_epochs = best.into();
        trainer.budget.min_epochs = 0;
        trainer.budget.max_time = None;
        trainer.budget.max_steps = None;
        trainer.early_stopping.early_stop_patience = 0;
        trainer.loaders.limit_val_batches = BatchLimit::Count(0);
        trainer.loaders.limit_test_batches = BatchLimit::Count(0);
        trainer
    }
}

impl Refit {
    /// Writes the checkpoint, with the intervals that are in `extras`, the fields of the validated model.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write(&self, folder: &RunFolder, extras: Option<&Value>) -> Result<()> {
        let mut metadata = self.metadata.clone();
        if let Some(intervals) = extras.map(|extras| &extras["intervals"]).filter(|value| !value.is_null()) {
            metadata["description"]["extras"]["intervals"] = intervals.clone();
        }
        Ok(checkpoint::write(&folder.refit(), &self.lit.parameters().snapshot(), &metadata)?)
    }

    /// Returns a line for the terminal.
    pub fn line(&self) -> String {
        let (rows, epochs) = (count(self.rows as u64, "row"), count(self.epochs, "epoch"));
        format!("trained again on all {rows} for {epochs}: checkpoints/refit.safetensors forecasts with it\n")
    }

    /// Returns the results as JSON.
    pub fn json(&self) -> Value {
        json!({"rows": self.rows, "epochs": self.epochs, "checkpoint": "checkpoints/refit.safetensors"})
    }
}
