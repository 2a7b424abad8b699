//! What happens to the weights beside the optimiser's steps: averages, and the answer to what is not finite.

use anyhow::{Result, bail};
use tch::{Device, Tensor};
use text_recognizer::data::Batch;
use text_recognizer::lit_models::StepOutput;
use text_recognizer::optim;

use super::Fit;
use crate::trainer::nonfinite::{self, OnNonfinite};

/// What `--on_nonfinite restore` returns to.
pub(super) struct RestorePoint {
    weights: Vec<(String, Tensor)>,
    optimizer: Vec<(String, Tensor)>,
    steps: u64,
}

impl Fit<'_> {
    pub(super) fn average_epoch(&mut self) -> Result<()> {
        let late = self.state.epoch as f64 > 0.8 * self.config.budget.max_epochs as f64;
        if let Some(averaging) = self.averaging.as_mut().filter(|_| late) {
            averaging.after_epoch(self.lit.parameters())?;
        }
        Ok(())
    }

    /// Exchanges weights and average, if there is one.
    pub(super) fn swap_average(&mut self) -> Result<()> {
        match self.averaging.as_mut().filter(|averaging| averaging.is_active()) {
            Some(averaging) => averaging.swap(self.lit.parameters()),
            None => Ok(()),
        }
    }

    /// On the CPU each step is looked at, which costs it next to nothing. Elsewhere the default policy looks when
    /// something is logged or saved, so that no step waits for the device.
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

    pub(super) fn on_nonfinite(&mut self, batch: &Batch) -> Result<()> {
        match self.config.nonfinite.on_nonfinite {
            OnNonfinite::Stop => {
                let cause = nonfinite::diagnose(self.lit, batch, self.context())?;
                bail!(
                    "a number became NaN or infinite in step {} (epoch {}, batch {}, rows {}): {cause}. Try a \
                     smaller --lr or --gradient_clip_val; --on_nonfinite skip leaves such steps out",
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
        // The first is news; what a run comes to in the end stands in its results.
        let level = if self.state.skipped == 1 { log::Level::Warn } else { log::Level::Debug };
        let (epoch, batch) = (self.state.epoch + 1, self.state.batch);
        log::log!(level, "epoch {epoch}, batch {batch}: a NaN or infinite loss or gradient, left out");
        // Half of a step would be neither the step nor none.
        self.accumulated.clear();
        Ok(())
    }

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
}
