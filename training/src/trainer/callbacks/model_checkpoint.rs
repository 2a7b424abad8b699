//! The choice of the best checkpoints of a run.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};
use text_recognizer::Error;

use super::{Mode, Monitor};
use crate::flags::default_flags;
use crate::trainer::record::Record;
use crate::trainer::run_folder::BEST;

/// The flags for checkpoints.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Choose the best checkpoint by this metric.
    #[arg(long = "checkpoint_monitor", default_value = "val_loss")]
    pub checkpoint_monitor: String,
    /// Set whether a smaller (min) or a larger (max) value of --checkpoint_monitor is better.
    #[arg(long = "checkpoint_mode", value_enum, default_value_t = Mode::Min)]
    pub checkpoint_mode: Mode,
    /// Keep this many of the best checkpoints, at least 1.
    #[arg(long = "save_top_k", default_value_t = 1)]
    pub save_top_k: usize,
    /// Save the last checkpoint within an epoch too, once per this many steps.
    #[arg(long = "checkpoint_every_n_steps")]
    pub checkpoint_every_n_steps: Option<u64>,
    /// Save the last checkpoint within an epoch too, once per this many minutes.
    #[arg(long = "checkpoint_every_n_minutes")]
    pub checkpoint_every_n_minutes: Option<f64>,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl CheckpointConfig {
    /// The flags that a resumed run may change.
    pub const FREE: &[&str] = &["save_top_k", "checkpoint_every_n_steps", "checkpoint_every_n_minutes"];

    /// Checks the values.
    ///
    /// # Errors
    /// Fails if a value is impossible; the error names the first one.
    pub fn validate(&self) -> text_recognizer::Result<()> {
        for (name, value) in [
            ("save_top_k", self.save_top_k as u64),
            ("checkpoint_every_n_steps", self.checkpoint_every_n_steps.unwrap_or(1)),
        ] {
            if value == 0 {
                return Err(Error::invalid(name, value, "at least 1"));
            }
        }
        let minutes = self.checkpoint_every_n_minutes.unwrap_or(0.0);
        if !(minutes >= 0.0 && minutes.is_finite()) {
            let expected = "a finite number, 0 or greater";
            return Err(Error::invalid("checkpoint_every_n_minutes", minutes, expected));
        }
        Ok(())
    }
}

/// A checkpoint among the best.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The monitored value.
    pub value: f64,
    /// Finished epochs at that time.
    pub epoch: u64,
    /// Optimizer steps at that time.
    pub step: u64,
}

impl Kept {
    fn file_name(&self) -> String {
        format!("epoch={}-step={}.safetensors", self.epoch, self.step)
    }
}

/// The files to write and to remove after a validation.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files to which the current weights must be written.
    pub save: Vec<PathBuf>,
    /// Files that are no longer among the best.
    pub remove: Vec<PathBuf>,
}

/// The `k` best checkpoints. The file of the best is `best.safetensors`. If `k > 1`, each also has a file that is named
/// by epoch and step.
#[derive(Debug)]
pub struct ModelCheckpoint {
    folder: PathBuf,
    monitor: Monitor,
    k: usize,
    /// Best first.
    kept: Vec<Kept>,
    /// Whether [`BEST`] exists. Its weights may be from a validation without a finite result.
    best_exists: bool,
}

impl ModelCheckpoint {
    /// Creates a choice of the `k` best checkpoints by the metric of `monitor`, with files in `folder`.
    pub fn new(folder: PathBuf, monitor: Monitor, k: usize) -> Self {
        Self { folder, monitor, k, kept: Vec::new(), best_exists: false }
    }

    /// Returns the name of the metric that is monitored.
    pub fn metric(&self) -> &str {
        &self.monitor.metric
    }

    /// Returns the metric that is monitored, with its best value so far.
    pub fn monitor(&self) -> Monitor {
        Monitor { best: self.best().map(|kept| kept.value), ..self.monitor.clone() }
    }

    /// Returns the best checkpoint so far.
    pub fn best(&self) -> Option<&Kept> {
        self.kept.first()
    }

    /// Updates the best checkpoints with the results of a validation, and returns the files to change.
    ///
    /// # Errors
    /// Fails if `record` does not contain the monitored metric.
    pub fn on_validation_end(&mut self, record: &Record) -> Result<Changes> {
        let value = self.monitor.value(record)?;
        let mut changes = Changes::default();
        // A non-finite result is never among the best. But a run without any other result still saves its weights.
        if !value.is_finite() {
            if !std::mem::replace(&mut self.best_exists, true) {
                changes.save.push(self.folder.join(BEST));
            }
            return Ok(changes);
        }
        let place = self.kept.iter().position(|kept| self.monitor.is_better(value, kept.value, 0.0));
        let place = place.unwrap_or(self.kept.len());
        if place >= self.k {
            return Ok(changes);
        }
        let new = Kept { value, epoch: record.epoch, step: record.step };
        if place == 0 {
            changes.save.push(self.folder.join(BEST));
            self.best_exists = true;
        }
        if self.k > 1 {
            changes.save.push(self.folder.join(new.file_name()));
        }
        self.kept.insert(place, new);
        if self.kept.len() > self.k && self.k > 1 {
            changes
                .remove
                .extend(self.kept[self.k..].iter().map(|dropped| self.folder.join(dropped.file_name())));
        }
        self.kept.truncate(self.k);
        Ok(changes)
    }

    /// Returns the state for a checkpoint.
    pub fn state(&self) -> &[Kept] {
        &self.kept
    }

    /// Restores [`ModelCheckpoint::state`].
    pub fn load_state(&mut self, kept: Vec<Kept>) {
        self.best_exists = !kept.is_empty();
        self.kept = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the files after validations with these `values`, and the value of each file.
    fn files(mode: Mode, k: usize, values: &[f64]) -> Vec<(String, f64)> {
        let mut checkpoint = ModelCheckpoint::new(PathBuf::new(), Monitor::new("val", mode), k);
        let mut files = std::collections::BTreeMap::new();
        for (step, &value) in values.iter().enumerate() {
            let record = Record { epoch: 1, step: step as u64, values: vec![("val".into(), value)] };
            let changes = checkpoint.on_validation_end(&record).unwrap();
            files.extend(changes.save.into_iter().map(|path| (path, value)));
            changes.remove.iter().for_each(|path| assert!(files.remove(path).is_some()));
        }
        files.into_iter().map(|(path, value)| (path.to_str().unwrap().to_owned(), value)).collect()
    }

    #[test]
    fn model_checkpoint_of_two_keeps_two_files_and_the_best() {
        let got = files(Mode::Max, 2, &[0.5, f64::NAN, 0.7, 0.6, 0.4, 0.65]);
        let expected =
            [(BEST, 0.7), ("epoch=1-step=2.safetensors", 0.7), ("epoch=1-step=5.safetensors", 0.65)];
        assert_eq!(got, expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn model_checkpoint_of_one_keeps_one_file() {
        assert_eq!(files(Mode::Min, 1, &[f64::INFINITY, 3.0, 2.0, 2.5]), [(BEST.to_owned(), 2.0)]);
    }
}
