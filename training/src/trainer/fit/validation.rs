//! When a run looks at its validation part, and who hears of it.

use std::ops::ControlFlow;

use anyhow::Result;

use super::Fit;
use crate::trainer::callbacks::{Callback, Position, StopReason};
use crate::trainer::config::Batches;
use crate::trainer::evaluate::{evaluate, evaluate_batches};
use crate::trainer::profiler::Phase;
use crate::trainer::record::Record;

impl Fit<'_> {
    /// Validates if it is time to, and hands one record to everybody.
    pub(super) fn end_of_validation(
        &mut self,
        at: Position,
        epoch_ends: bool,
    ) -> Result<ControlFlow<StopReason>> {
        let mut values = self.state.train.values("train");
        let skipped_epoch =
            epoch_ends && !self.state.epoch.is_multiple_of(self.config.check_val_every_n_epoch);
        let validates = !skipped_epoch && (self.validates(at) || !epoch_ends);
        if validates && let Some(val) = &self.loaders.val {
            self.swap_average()?;
            values.extend(evaluate(self.lit, val, "val", self.config.matmul_kind())?);
            self.swap_average()?;
        }
        self.profiler.lap(Phase::Validation);
        let record = Record { epoch: self.state.epoch, step: self.state.step, values };
        self.log(&record)?;
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
        self.last = Some(record);
        self.profiler.lap(Phase::Logging);
        Ok(flow)
    }

    /// Whether a validation within or at the end of the epoch is due. Where several batches make a step, it waits for the
    /// step that its batch is part of.
    pub(super) fn validates(&self, at: Position) -> bool {
        let Some(interval) = self.validation_interval(at) else { return at.batch == at.batches };
        let together = self.config.accumulate_grad_batches as usize;
        let before = (at.batch - 1) / together * together;
        at.batch / interval > before / interval
    }

    /// Batches between two validations; `None` for the end of the epoch alone.
    fn validation_interval(&self, at: Position) -> Option<usize> {
        match self.config.val_check_interval {
            Batches::Share(1.0) => None,
            interval => Some(interval.of(at.batches).max(1)),
        }
    }

    pub(super) fn sanity_check(&mut self) -> Result<()> {
        let fresh = self.state.step == 0 && !self.config.fast_dev_run;
        if let Some(val) = self.loaders.val.as_ref().filter(|_| fresh && self.config.num_sanity_val_steps > 0)
        {
            let few = val.epoch(0, 0).take(self.config.num_sanity_val_steps);
            evaluate_batches(self.lit, few, "val", self.config.matmul_kind())?;
        }
        self.profiler.lap(Phase::Validation);
        Ok(())
    }
}
