//! Validation within a run.

use std::ops::ControlFlow;

use anyhow::Result;

use super::{Fit, LossRange};
use crate::trainer::callbacks::{Callback, Position, StopReason};
use crate::trainer::evaluate::evaluate_batches;
use crate::trainer::profiler::Phase;
use crate::trainer::record::Record;

impl Fit<'_> {
    /// Validates if a validation is due, and gives one record to the loggers, the checkpoints and the callbacks.
    /// Returns whether the run continues, or `None` if a signal interrupted the validation: a resumed run repeats it.
    pub(super) fn end_of_validation(
        &mut self,
        at: Position,
        epoch_ends: bool,
    ) -> Result<Option<ControlFlow<StopReason>>> {
        let mut values = self.state.train.values("train", self.lit.metrics(true), self.strategy)?;
        let skipped_epoch =
            epoch_ends && !self.state.epoch.is_multiple_of(self.config.validation.check_val_every_n_epoch);
        let validates = !skipped_epoch && (self.validates(at) || !epoch_ends);
        if validates && let Some(val) = &self.loaders.val {
            self.swap_average()?;
            let batches = val.epoch(0, 0).take_while(|_| !self.is_interrupted());
            let kind = self.config.device.matmul_kind();
            values.extend(evaluate_batches(self.lit, batches, "val", kind, self.strategy)?);
            self.swap_average()?;
            if self.is_interrupted() {
                return Ok(None);
            }
        }
        self.profiler.lap(Phase::Validation);
        let record = Record { epoch: self.state.epoch, step: self.state.step, values };
        self.log(&record)?;
        if let Some(loss) = record.get("train_loss").filter(|_| epoch_ends) {
            let LossRange { epochs, least, greatest } =
                self.losses.unwrap_or(LossRange { epochs: 0, least: loss, greatest: loss });
            self.losses =
                Some(LossRange { epochs: epochs + 1, least: least.min(loss), greatest: greatest.max(loss) });
        }
        let mut flow = ControlFlow::Continue(());
        if validates || self.loaders.val.is_none() {
            if let Some(loss) = record.get("val_loss").or(record.get("train_loss")) {
                self.schedule.observe(loss);
            }
            self.keep_best(&record)?;
            if let Some(early_stopping) = &mut self.early_stopping {
                flow = early_stopping.on_validation_end(&record)?;
            }
        }
        for callback in &mut self.callbacks {
            if let ControlFlow::Break(reason) = callback.on_validation_end(&record)? {
                flow = ControlFlow::Break(reason);
            }
        }
        self.profiler.lap(Phase::Logging);
        Ok(Some(flow))
    }

    /// Returns whether a signal that stops the run has arrived. Several ranks cannot interrupt what they do together.
    fn is_interrupted(&self) -> bool {
        self.strategy.world_size() == 1 && self.signals.is_some_and(|signals| signals.stop().is_some())
    }

    /// Returns whether a validation is due at the position `at`.
    pub(super) fn validates(&self, at: Position) -> bool {
        self.config.validation.is_due(at, self.config.gradients.accumulate_grad_batches)
    }

    /// Evaluates the batches of `--num_sanity_val_steps`, so that a broken validation fails before the training.
    pub(super) fn sanity_check(&mut self) -> Result<()> {
        let steps = self.config.validation.num_sanity_val_steps;
        if let Some(val) = self.loaders.val.as_ref().filter(|_| self.state.step == 0 && steps > 0) {
            let few = val.epoch(0, 0).take(steps).take_while(|_| !self.is_interrupted());
            evaluate_batches(self.lit, few, "val", self.config.device.matmul_kind(), self.strategy)?;
        }
        self.profiler.lap(Phase::Validation);
        Ok(())
    }
}
