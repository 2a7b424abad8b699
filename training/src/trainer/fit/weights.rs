//! Changes of the weights outside of optimizer steps: averages, and the handling of NaN and infinity.

use anyhow::{Result, bail};
use tch::{Device, Tensor};
use text_recognizer::data::Batch;
use text_recognizer::lit_models::StepOutput;
use text_recognizer::optim;

use super::Fit;
use crate::trainer::nonfinite::{self, OnNonfinite};

/// The state that `--on_nonfinite restore` restores.
pub(super) struct RestorePoint {
    weights: Vec<(String, Tensor)>,
    optimizer: Vec<(String, Tensor)>,
    pub(super) steps: u64,
}

/// The prefixes of the names of its tensors in a checkpoint.
const WEIGHTS: &str = "restore.weight.";
const OPTIMIZER: &str = "restore.optimizer.";

impl RestorePoint {
    /// Returns the named tensors for a checkpoint. They are not copies, because no training changes them.
    pub(super) fn state(&self) -> impl Iterator<Item = (String, Tensor)> {
        let named = |prefix: &'static str, tensors: &[(String, Tensor)]| {
            let named =
                tensors.iter().map(move |(name, tensor)| (format!("{prefix}{name}"), tensor.shallow_clone()));
            named.collect::<Vec<_>>()
        };
        named(WEIGHTS, &self.weights).into_iter().chain(named(OPTIMIZER, &self.optimizer))
    }
}

impl Fit<'_> {
    /// Adds the weights to their mean at the end of an epoch in the last 20 % of `max_epochs`.
    pub(super) fn average_epoch(&mut self) -> Result<()> {
        let late = self.state.epoch as f64 > 0.8 * self.max_epochs as f64;
        if let Some(averaging) = self.averaging.as_mut().filter(|_| late) {
            averaging.after_epoch(self.lit.parameters())?;
        }
        Ok(())
    }

    /// Returns the number of epochs of the run if the average of the weights depends on it.
    pub(super) fn planned_epochs(&self) -> Option<u64> {
        self.config.averaging.stochastic_weight_avg.then_some(self.max_epochs)
    }

    /// Exchanges the weights and their average, if there is one.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn swap_average(&mut self) -> Result<()> {
        match self.averaging.as_mut().filter(|averaging| averaging.is_active()) {
            Some(averaging) => averaging.swap(self.lit.parameters()),
            None => Ok(()),
        }
    }

    /// Returns whether loss and gradients are finite. On the CPU, checks every step, which costs almost no time. On
    /// other devices, `--on_nonfinite stop` checks only steps that log or save and the last step of an epoch, and
    /// returns `true` for the others, so that they do not wait for the device.
    pub(super) fn is_finite(&self, output: &StepOutput, grads: &[Tensor]) -> Result<bool> {
        let on_cpu = output.loss.device() == Device::Cpu;
        let logs = (self.state.step + 1).is_multiple_of(self.config.logging.log_every_n_steps);
        let last = self.state.batch == self.loaders.train.len();
        let every = self.config.checkpoint.checkpoint_every_n_steps;
        let saves = every.is_some_and(|n| (self.state.step + 1).is_multiple_of(n));
        let policy = &self.config.nonfinite;
        let each = policy.on_nonfinite != OnNonfinite::Stop || policy.detect_anomaly;
        if !(on_cpu || each || logs || last || saves) {
            return Ok(true);
        }
        Ok(output.loss.f_double_value(&[])?.is_finite() && optim::all_finite(grads))
    }

    /// Handles a non-finite loss or gradient of `batch` as `--on_nonfinite` requires.
    pub(super) fn on_nonfinite(&mut self, batch: &Batch) -> Result<()> {
        match self.config.nonfinite.on_nonfinite {
            OnNonfinite::Stop => {
                let cause = nonfinite::diagnose(self.lit, batch, self.context())?;
                let advice = self.lit.advice(batch).map_or_else(String::new, |advice| advice + ", or ");
                bail!(
                    "cannot continue training: a value is NaN or infinite in step {} (epoch {}, batch {}, rows {}): \
                     {cause}; try {advice}a smaller --lr, --gradient_clip_val, or --on_nonfinite skip",
                    self.state.step + 1,
                    self.state.epoch + 1,
                    self.state.batch,
                    nonfinite::rows(batch),
                )
            }
            OnNonfinite::Skip => {}
            OnNonfinite::Restore => {
                if let Some(point) = &self.restore_point {
                    self.lit.parameters().load(&point.weights)?;
                    self.optimizer.load_state(point.steps, &point.optimizer)?;
                }
            }
        }
        self.state.skipped += 1;
        // Warn once only: the results of the run contain the total.
        let level = if self.state.skipped == 1 { log::Level::Warn } else { log::Level::Debug };
        let (epoch, batch) = (self.state.epoch + 1, self.state.batch);
        log::log!(level, "skipped batch {batch} of epoch {epoch}: its loss or a gradient is NaN or infinite");
        self.accumulated.skip();
        Ok(())
    }

    /// Copies the state that `--on_nonfinite restore` restores. The caller calls this only at steps that do not depend on the
    /// time, so that every run of the same command restores the same state.
    pub(super) fn mark_restore_point(&mut self) {
        if self.config.nonfinite.on_nonfinite == OnNonfinite::Restore {
            let state =
                self.optimizer.state().into_iter().map(|(name, tensor)| (name, tensor.copy())).collect();
            self.restore_point = Some(RestorePoint {
                weights: self.lit.parameters().snapshot(),
                optimizer: state,
                steps: self.optimizer.steps(),
            });
        }
    }

    /// Takes the state to restore from a checkpoint. `tensors` returns those with a prefix.
    pub(super) fn load_restore_point(&mut self, steps: u64, tensors: &dyn Fn(&str) -> Vec<(String, Tensor)>) {
        self.restore_point =
            Some(RestorePoint { weights: tensors(WEIGHTS), optimizer: tensors(OPTIMIZER), steps });
    }
}
