//! The training loop: fit, train an epoch, train a batch, take an optimizer step.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use text_recognizer::data::Batch;
use text_recognizer::lit_models::{Count, LitModel, StepOutput};
use text_recognizer::nn::{ForwardContext, is_finite};
use text_recognizer::optim::{self, Optimizer, Schedule};

use super::BudgetConfig;
use super::averaging::WeightAverage;
use super::callbacks::{Callback, EarlyStopping, ModelCheckpoint, Position, StopReason};
use super::checkpointing::{Saver, Weights};
use super::config::TrainerConfig;
use super::gradients::Accumulated;
use super::loggers::Logger;
use super::profiler::{Phase, Profiler};
use super::record::Record;
use super::state::{InterruptedValidation, LoopState, MeanMetrics};
use super::strategy::{Flags, Strategy};
use super::{Loaders, RunFolder, Signals};

mod persist;
mod setup;
mod validation;
mod weights;

use weights::RestorePoint;

/// The outcome of a run.
#[derive(Debug, Clone)]
pub struct FitSummary {
    /// The reason for its end.
    pub stop: StopReason,
    /// Finished epochs.
    pub epochs: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// Batches that were skipped because of a non-finite loss or gradient.
    pub skipped: u64,
    /// The time that this process spent on training batches, without validation.
    pub train_time: Duration,
    /// The number of training batches of this process.
    pub train_batches: u64,
    /// The best checkpoint; `None` if the run writes no files or no value was finite.
    pub best: Option<Best>,
    /// The mean training losses of the epochs of this process; `None` without a finished epoch.
    pub losses: Option<LossRange>,
}

/// The range of the mean training losses of some epochs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossRange {
    /// The number of epochs.
    pub epochs: u64,
    /// The least loss.
    pub least: f64,
    /// The greatest loss.
    pub greatest: f64,
}

/// The best checkpoint of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Best {
    /// The monitored metric.
    pub metric: String,
    /// Its value.
    pub value: f64,
    /// Finished epochs at that time.
    pub epoch: u64,
}

/// A run of the training loop.
pub struct Fit<'a> {
    config: &'a TrainerConfig,
    /// The epochs after which the run stops.
    max_epochs: u64,
    lit: &'a dyn LitModel,
    loaders: &'a Loaders,
    strategy: &'a dyn Strategy,
    /// `None` for a run that writes no files.
    folder: Option<&'a RunFolder>,
    /// The metadata of all checkpoints, without epoch and step.
    metadata: Value,
    optimizer: Optimizer,
    schedule: Schedule,
    averaging: Option<WeightAverage>,
    early_stopping: Option<EarlyStopping>,
    callbacks: Vec<Box<dyn Callback + 'a>>,
    model_checkpoint: Option<ModelCheckpoint>,
    loggers: Vec<Box<dyn Logger + 'a>>,
    signals: Option<&'a Signals>,
    profiler: Profiler,
    state: LoopState,
    accumulated: Accumulated,
    /// The state that `--on_nonfinite restore` restores.
    restore_point: Option<RestorePoint>,
    /// The best weights that are not on the disk yet.
    unsaved: Vec<Weights>,
    /// Files that are no longer among the best; the next save removes them.
    unwanted: Vec<PathBuf>,
    saver: Saver,
    started: Instant,
    /// Whether the last checkpoint has the current state.
    saved: bool,
    /// The budget of the process before a resume.
    budget_before: Option<BudgetConfig>,
    /// The time of the processes before a resume, for `--max_time`.
    elapsed_before: Duration,
    /// Step and time of the last save.
    saved_at: (u64, Instant),
    train_time: Duration,
    train_batches: u64,
    /// The mean training losses of the epochs of this process.
    losses: Option<LossRange>,
}

impl<'a> Fit<'a> {
    /// Trains until the budget is spent, a callback stops the run, or a signal arrives.
    ///
    /// # Errors
    /// Fails if a loss or gradient is non-finite (see `--on_nonfinite`), a batch does not have the shapes that the
    /// model expects, or a file cannot be written.
    pub fn run(&mut self) -> Result<FitSummary> {
        let outcome = self.fit();
        let saved = self.settle(outcome.is_err());
        for callback in &mut self.callbacks {
            callback.on_fit_end();
        }
        let stop = outcome?;
        saved?;
        Ok(FitSummary {
            stop,
            epochs: self.state.epoch,
            steps: self.state.step,
            skipped: self.state.skipped,
            train_time: self.train_time,
            train_batches: self.train_batches,
            best: self.model_checkpoint.as_ref().and_then(|kept| {
                let best = kept.best()?;
                Some(Best { metric: kept.metric().to_owned(), value: best.value, epoch: best.epoch })
            }),
            losses: self.losses,
        })
    }

    fn fit(&mut self) -> Result<StopReason> {
        self.sanity_check()?;
        if let Some(folder) = self.folder {
            folder.keep();
        }
        if self.restore_point.is_none() {
            self.mark_restore_point();
        }
        // The run may have been interrupted after early stopping and before its end.
        if let Some(ControlFlow::Break(reason)) = self.early_stopping.as_ref().map(EarlyStopping::verdict) {
            return self.finish(reason);
        }
        if let Some(InterruptedValidation { batch, epoch_ends }) = self.state.interrupted.take() {
            let at = Position { epoch: self.state.epoch, batch, batches: self.loaders.train.len() };
            if let ControlFlow::Break(reason) = self.validate_and_save(at, epoch_ends)? {
                return self.finish(reason);
            }
        }
        loop {
            if let Some(reason) = self.budget()? {
                return self.finish(reason);
            }
            if let ControlFlow::Break(reason) = self.train_epoch()? {
                return self.finish(reason);
            }
        }
    }

    fn train_epoch(&mut self) -> Result<ControlFlow<StopReason>> {
        let batches = self.loaders.train.len();
        let mut started = Instant::now();
        for batch in self.loaders.train.epoch(self.state.epoch, self.state.batch) {
            let batch = batch?;
            self.profiler.lap(Phase::Data);
            let stepped = self.train_batch(&batch)?;
            self.train_batches += 1;
            let at = Position { epoch: self.state.epoch, batch: self.state.batch, batches };
            self.callbacks.iter_mut().for_each(|callback| callback.on_batch_end(at));
            self.profiler.lap(Phase::Logging);
            if !stepped {
                continue;
            }
            self.train_time += started.elapsed();
            let flow = self.after_step(at)?;
            started = Instant::now();
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Runs the forward and the backward pass and, after `accumulate_grad_batches` batches, an optimizer step. Returns whether a
    /// step was due.
    fn train_batch(&mut self, batch: &Batch) -> Result<bool> {
        self.saved = false;
        let parameters = self.lit.parameters().tensors();
        let mut anomaly = false;
        let mut context = self.context();
        if self.config.nonfinite.detect_anomaly {
            context = context.observed(Box::new(|_, output| anomaly |= !is_finite(output)));
        }
        let output = self.lit.step(batch, &mut context)?;
        self.profiler.lap(Phase::Forward);
        let grads = context.gradients(&output.loss, parameters)?;
        self.profiler.lap(Phase::Backward);

        self.state.batch += 1;
        let nonfinite = anomaly || !self.is_finite(&output, &grads)?;
        let finite = !self.strategy.agree(Flags { nonfinite, ..Flags::default() })?.nonfinite;
        if !finite {
            self.on_nonfinite(batch)?;
        }
        self.state.batches_seen += 1;
        if finite {
            self.state.train.add(&output, self.lit.metrics(true))?;
            let rows = match &output.rows {
                // A single batch needs no weight, and the process does not wait for the device to get one.
                Count::OnDevice(_) if self.config.gradients.accumulate_grad_batches == 1 => 1,
                rows => rows.get()?,
            };
            self.accumulated.add(grads, rows)?;
        }
        let last = self.state.batch == self.loaders.train.len();
        let full = (self.state.batch as u64).is_multiple_of(self.config.gradients.accumulate_grad_batches);
        if full || last {
            self.optimizer_step(&output)?;
        }
        Ok(full || last)
    }

    fn context<'c>(&self) -> ForwardContext<'c> {
        ForwardContext::train(self.config.seed, self.state.batches_seen)
            .rank(self.strategy.rank())
            .matmul_kind(self.config.device.matmul_kind())
    }

    fn optimizer_step(&mut self, output: &StepOutput) -> Result<()> {
        // `None` if a batch since the last step was skipped.
        let Some(mut grads) = self.accumulated.take_mean()? else { return Ok(()) };
        self.strategy.all_reduce_mean(&mut grads)?;
        let logs = (self.state.step + 1).is_multiple_of(self.config.logging.log_every_n_steps);
        let norm = (logs && self.config.gradients.track_grad_norm).then(|| optim::grad_norm(&grads));
        self.config.gradients.clip(&mut grads)?;
        let lr = self.schedule.lr(self.state.step, self.state.epoch);
        self.optimizer.step(&grads, lr)?;
        self.state.step += 1;
        if let Some(averaging) = &mut self.averaging {
            averaging.after_step(self.lit.parameters())?;
        }
        self.profiler.lap(Phase::Optimizer);
        if logs {
            let mut values =
                vec![("lr".into(), lr), ("train_loss_step".into(), output.loss.double_value(&[]))];
            values.extend(norm.map(|norm| ("grad_norm".into(), norm)));
            self.log(&Record { epoch: self.state.epoch, step: self.state.step, values })?;
        }
        Ok(())
    }

    /// Validates and saves at the end of a step, if due. Returns whether the run continues.
    fn after_step(&mut self, at: Position) -> Result<ControlFlow<StopReason>> {
        let epoch_ends = at.batch == at.batches;
        if epoch_ends {
            self.state.epoch += 1;
            self.state.batch = 0;
            self.average_epoch()?;
        }
        if epoch_ends || self.checkpoint_step_is_due() {
            self.mark_restore_point();
        }
        self.validate_and_save(at, epoch_ends)
    }

    fn validate_and_save(&mut self, at: Position, epoch_ends: bool) -> Result<ControlFlow<StopReason>> {
        self.saved = false;
        let end = self.budget()?;
        let mut flow = ControlFlow::Continue(());
        // A run ends with a validation of its last weights. Validate before saving: a run that is killed between the
        // two then validates again after a resume. In the other order, it would resume as finished, without a result.
        if epoch_ends || end.is_some() || self.validates(at) {
            let validated = self.end_of_validation(at, epoch_ends)?;
            let interrupted = InterruptedValidation { batch: at.batch, epoch_ends };
            self.state.interrupted = validated.is_none().then_some(interrupted);
            flow = validated.unwrap_or(flow);
        }
        if epoch_ends && self.state.interrupted.is_none() {
            self.state.train = MeanMetrics::default();
        }
        // After the validation, during which a signal may have arrived.
        let asked = self.strategy.agree(Flags {
            stop: self.signals.and_then(Signals::stop),
            save: self.signals.is_some_and(Signals::save) || self.checkpoint_is_due(epoch_ends),
            ..Flags::default()
        })?;
        if asked.save {
            self.save_last()?;
        }
        if let Some(signal) = asked.stop {
            return Ok(ControlFlow::Break(StopReason::Signal(signal)));
        }
        Ok(match end {
            Some(reason) if flow.is_continue() => ControlFlow::Break(reason),
            _ => flow,
        })
    }

    /// Returns the reason to stop if the budget is spent. The clocks of the ranks differ, so they agree on the time.
    fn budget(&self) -> Result<Option<StopReason>> {
        let budget = &self.config.budget;
        let out_of_time = budget.max_time().is_some_and(|max| self.elapsed() >= max);
        let out_of_time = self.strategy.agree(Flags { out_of_time, ..Flags::default() })?.out_of_time;
        Ok(if self.state.epoch >= self.max_epochs {
            Some(StopReason::MaxEpochs)
        } else if budget.max_steps.is_some_and(|max| self.state.step >= max) {
            Some(StopReason::MaxSteps)
        } else {
            out_of_time.then_some(StopReason::MaxTime)
        })
    }

    /// Returns the time of the run, also before a resume.
    fn elapsed(&self) -> Duration {
        self.elapsed_before.saturating_add(self.started.elapsed())
    }

    fn finish(&mut self, reason: StopReason) -> Result<StopReason> {
        // A resumed run that has nothing to do stays as it is.
        if !self.saved {
            self.save_last()?;
        }
        Ok(reason)
    }

    /// Returns whether there is nothing left to train, as for a run that is resumed after its end.
    ///
    /// # Errors
    /// Fails if the connection to another rank is lost.
    pub fn is_over(&self) -> Result<bool> {
        let stopped = self.early_stopping.as_ref().is_some_and(|stopping| stopping.verdict().is_break());
        Ok(stopped || self.budget()?.is_some())
    }

    fn log(&mut self, record: &Record) -> Result<()> {
        for logger in &mut self.loggers {
            logger.log(record)?;
        }
        self.callbacks.iter_mut().for_each(|callback| callback.on_log(record));
        Ok(())
    }

    /// Logs the metrics of the test split, if there are any in `results`. The other results belong to earlier steps, which the
    /// loggers have.
    ///
    /// # Errors
    /// Fails if a logger cannot write them.
    pub fn log_test(&mut self, results: &Record) -> Result<()> {
        let mut test = results.clone();
        test.values.retain(|(name, _)| name.starts_with("test_"));
        if test.values.is_empty() {
            return Ok(());
        }
        self.loggers.iter_mut().try_for_each(|logger| logger.log_test(&test))
    }

    /// Writes what was logged to the disk.
    ///
    /// # Errors
    /// Fails if a logger cannot write it.
    pub fn flush_loggers(&mut self) -> Result<()> {
        self.loggers.iter_mut().try_for_each(|logger| logger.flush().map(drop))
    }

    /// Writes to the loggers that the run ended, with success or with an error.
    ///
    /// # Errors
    /// Fails if a logger cannot write this.
    pub fn end_loggers(&mut self, success: bool) -> Result<()> {
        self.loggers.iter_mut().try_for_each(|logger| logger.finish(success))
    }

    /// Returns the table of `--profiler`; an empty text if it is off.
    pub fn profile(&self) -> String {
        self.profiler.to_string()
    }
}

#[cfg(test)]
mod tests;
