//! Saving and resuming of a run.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tch::Tensor;

use super::Fit;
use crate::trainer::BudgetConfig;
use crate::trainer::callbacks::{Callback, ModelCheckpoint};
use crate::trainer::checkpointing::{Last, ResumePoint, Save, Weights};
use crate::trainer::profiler::Phase;
use crate::trainer::record::Record;
use crate::trainer::state::SavedLoopState;

/// The shortest time between two saves of the last checkpoint at the end of an epoch. An epoch of a small model takes
/// milliseconds, but a synchronized write to the disk takes tens of milliseconds.
const PAUSE: Duration = Duration::from_secs(1);

impl Fit<'_> {
    /// Returns whether a step must save the last checkpoint.
    pub(super) fn checkpoint_is_due(&self, epoch_ends: bool) -> bool {
        let (step, time) = self.saved_at;
        let minutes = self.config.checkpoint.checkpoint_every_n_minutes;
        (epoch_ends && time.elapsed() >= PAUSE)
            || self.state.step > step && self.checkpoint_step_is_due()
            || minutes.is_some_and(|n| time.elapsed().as_secs_f64() >= 60.0 * n)
    }

    /// Returns whether `--checkpoint_every_n_steps` is due.
    pub(super) fn checkpoint_step_is_due(&self) -> bool {
        self.config.checkpoint.checkpoint_every_n_steps.is_some_and(|n| self.state.step.is_multiple_of(n))
    }

    /// Starts to save the last checkpoint: the weights and all other state that the rest of the run depends on. Also
    /// saves the best weights that are not on the disk yet.
    ///
    /// # Errors
    /// Fails if the previous save failed, or a logger cannot write.
    pub(super) fn save_last(&mut self) -> Result<()> {
        self.saved_at = (self.state.step, Instant::now());
        let Some(folder) = self.folder else { return Ok(()) };
        folder.check()?;
        // Wait before copying: two copies of a large model may not fit into memory.
        self.saver.wait()?;
        let marks = self.loggers.iter_mut().map(|logger| logger.flush()).collect::<Result<Vec<_>>>()?;
        let state = json!({
            "loop": self.state.save(),
            "optimizer_steps": self.optimizer.steps(),
            "schedule": self.schedule.state(),
            "early_stopping": self.early_stopping.as_ref().map(Callback::state),
            "kept": self.model_checkpoint.as_ref().map(ModelCheckpoint::state),
            "planned_steps": self.schedule.planned_steps(),
            "budget": self.config.budget,
            "elapsed": self.elapsed().as_secs_f64(),
            "planned_epochs": self.planned_epochs(),
            "restore_steps": self.restore_point.as_ref().map(|point| point.steps),
            "averaged": self.averaging.as_ref().map(|averaging| averaging.state().1),
            "loggers": marks,
        });
        let mut tensors: Vec<(String, Tensor)> = self
            .optimizer
            .state()
            .into_iter()
            .map(|(name, tensor)| (format!("optimizer.{name}"), tensor.copy()))
            .collect();
        if let Some(averaging) = &self.averaging {
            let names = self.lit.parameters().names().iter();
            let each = names.zip(averaging.state().0);
            tensors.extend(each.map(|(name, tensor)| (format!("average.{name}"), tensor.copy())));
        }
        if let Some(point) = &self.restore_point {
            tensors.extend(point.state());
        }
        let last = Last {
            path: folder.last(),
            weights: self.lit.parameters().snapshot(),
            metadata: self.metadata(),
            state_tensors: tensors,
            state,
            serial: self.state.batches_seen,
        };
        let (kept, unwanted) = (std::mem::take(&mut self.unsaved), std::mem::take(&mut self.unwanted));
        self.saver.start(Save { folder: folder.checkpoints(), kept, unwanted, last: Some(last) })?;
        self.saved = true;
        self.profiler.lap(Phase::Checkpoint);
        Ok(())
    }

    /// Copies the weights if they are among the best. The next [`Fit::save_last`] writes them to the disk. A run that
    /// is killed in between resumes at an earlier step and computes them again.
    pub(super) fn keep_best(&mut self, record: &Record) -> Result<()> {
        let Some(kept) = &mut self.model_checkpoint else { return Ok(()) };
        let changes = kept.on_validation_end(record)?;
        if !changes.save.is_empty() {
            self.swap_average()?;
            let (tensors, metadata) = (self.lit.parameters().snapshot(), self.metadata());
            self.swap_average()?;
            self.leave_out(&changes.save);
            self.unsaved.push(Weights { paths: changes.save, tensors, metadata });
        }
        self.leave_out(&changes.remove);
        self.unwanted.extend(changes.remove);
        self.profiler.lap(Phase::Checkpoint);
        Ok(())
    }

    /// Removes `paths` from the weights that are not on the disk yet.
    fn leave_out(&mut self, paths: &[PathBuf]) {
        for weights in &mut self.unsaved {
            weights.paths.retain(|path| !paths.contains(path));
        }
        self.unsaved.retain(|weights| !weights.paths.is_empty());
    }

    /// Waits until all files are on the disk. For a failed run, first saves its best weights.
    pub(super) fn settle(&mut self, failed: bool) -> Result<()> {
        if let Some(folder) = self.folder.filter(|_| failed && !self.unsaved.is_empty()) {
            let kept = std::mem::take(&mut self.unsaved);
            self.saver.start(Save { folder: folder.checkpoints(), kept, ..Save::default() })?;
        }
        let outcome = self.saver.wait();
        self.profiler.lap(Phase::Checkpoint);
        outcome
    }

    pub(super) fn metadata(&self) -> Value {
        let mut metadata = self.metadata.clone();
        metadata["epoch"] = self.state.epoch.into();
        metadata["step"] = self.state.step.into();
        metadata
    }

    /// Discards what the loggers have written after a checkpoint; without a checkpoint, which is a run that was killed before its
    /// first one and starts again, all that they have written.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub fn rewind(&mut self, from: Option<&ResumePoint>) -> Result<()> {
        let marks = from.map_or(&Value::Null, |from| &from.state.metadata["loggers"]);
        for (at, logger) in self.loggers.iter_mut().enumerate() {
            logger.rewind(&marks[at], self.state.step)?;
        }
        Ok(())
    }

    /// Returns the budget of the process before a resume, if the checkpoint has it.
    pub fn budget_before(&self) -> Option<&BudgetConfig> {
        self.budget_before.as_ref()
    }

    /// Resumes from a checkpoint of this run's folder. Loggers are added after it, and then [rewound](Fit::rewind).
    ///
    /// # Errors
    /// Fails if the checkpoint is of a run with another model or optimizer, or a file of the run is damaged.
    pub fn resume(&mut self, from: &ResumePoint) -> Result<()> {
        let ResumePoint { weights, state: saved } = from;
        let state = &saved.metadata;
        self.lit.parameters().load(&weights.tensors)?;
        let tensors = |prefix: &str| -> Vec<(String, Tensor)> {
            let of = saved.tensors.iter();
            of.filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_owned(), t.shallow_clone())))
                .collect()
        };
        let steps: u64 = serde_json::from_value(state["optimizer_steps"].clone())?;
        ensure!(
            steps < 1 << 62,
            "cannot continue the run: its optimizer has made {steps} steps, expected less than 2^62"
        );
        self.optimizer.load_state(steps, &tensors("optimizer."))?;
        self.schedule.load_state(serde_json::from_value(state["schedule"].clone())?);
        if let (Some(early_stopping), state @ Value::Object(_)) =
            (&mut self.early_stopping, &state["early_stopping"])
        {
            early_stopping.load_state(state.clone())?;
        }
        if let (Some(kept), true) = (&mut self.model_checkpoint, !state["kept"].is_null()) {
            kept.load_state(serde_json::from_value(state["kept"].clone())?)?;
        }
        if let (Some(averaging), Some(count)) = (&mut self.averaging, state["averaged"].as_u64()) {
            let saved = tensors("average.");
            let find = |name: &str| Some(saved.iter().find(|(n, _)| n == name)?.1.shallow_clone());
            averaging.load_state(self.lit.parameters().names(), count, find)?;
        }
        let position: SavedLoopState = serde_json::from_value(state["loop"].clone())?;
        position.check(self.loaders.train.len())?;
        self.state = position.into();
        if let Some(steps) = state["restore_steps"].as_u64() {
            self.load_restore_point(steps, &tensors);
        }
        self.elapsed_before = Duration::try_from_secs_f64(state["elapsed"].as_f64().unwrap_or(0.0))?;
        let before = |planned: &str| state[planned].as_u64();
        warn_of_length(
            "the average of the weights",
            "epochs",
            before("planned_epochs"),
            self.planned_epochs(),
        );
        let steps = self.schedule.planned_steps();
        warn_of_length("the learning-rate schedule", "steps", before("planned_steps"), steps);
        (self.saved, self.saved_at) = (true, (self.state.step, Instant::now()));
        // A checkpoint of another version may have other limits; the run then does without.
        self.budget_before = serde_json::from_value(state["budget"].clone()).unwrap_or_default();
        Ok(())
    }

    /// Returns the file of the best checkpoint; `None` if the run has none, because it writes no files or did not validate.
    pub fn best_path(&self) -> Option<PathBuf> {
        self.model_checkpoint.as_ref()?.path()
    }
}

/// Warns if what depends on the length of a run was planned for another length before a resume.
fn warn_of_length(what: &str, unit: &str, before: Option<u64>, now: Option<u64>) {
    if let (Some(before), Some(now)) = (before, now)
        && before != now
    {
        log::warn!(
            "{what} was planned for {before} {unit} and is now for {now}: this run differs from one of {now} {unit} without an \
             interruption"
        );
    }
}
