//! Keeps the best checkpoints of a run.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};
use text_recognizer::Error;

use super::{Mode, Monitor};
use crate::flags::default_flags;
use crate::trainer::record::Record;
use crate::trainer::run_folder::BEST;

/// The checkpoints of a run.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Metric that the best checkpoint is chosen by.
    #[arg(long = "checkpoint_monitor", default_value = "val_loss")]
    pub checkpoint_monitor: String,
    /// Whether a smaller or a larger value of it is better.
    #[arg(long = "checkpoint_mode", value_enum, default_value_t = Mode::Min)]
    pub checkpoint_mode: Mode,
    /// Number of the best checkpoints to keep.
    #[arg(long = "save_top_k", default_value_t = 1)]
    pub save_top_k: usize,
    /// Save the last checkpoint within an epoch too: every so many steps.
    #[arg(long = "checkpoint_every_n_steps")]
    pub checkpoint_every_n_steps: Option<u64>,
    /// Save the last checkpoint within an epoch too: every so many minutes.
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
    /// Names the first impossible value.
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

/// A checkpoint that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The monitored value.
    pub value: f64,
    /// Where in the run it was taken.
    pub epoch: u64,
    /// Where in the run it was taken.
    pub step: u64,
}

impl Kept {
    fn file_name(&self) -> String {
        format!("epoch={}-step={}.safetensors", self.epoch, self.step)
    }
}

/// What a validation changes about the files that are kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files that are to hold the weights as they are now.
    pub save: Vec<PathBuf>,
    /// Files that are no longer among the best.
    pub remove: Vec<PathBuf>,
}

/// Chooses the `k` best checkpoints: the best as [`BEST`], and where `k > 1` each under its epoch and step as well.
#[derive(Debug)]
pub struct ModelCheckpoint {
    folder: PathBuf,
    monitor: Monitor,
    k: usize,
    /// Best first.
    kept: Vec<Kept>,
    /// Whether [`BEST`] holds anything, be it of a validation without a finite result.
    holds_something: bool,
}

impl ModelCheckpoint {
    /// Keeps the `k` best by `monitor` in `folder`.
    pub fn new(folder: PathBuf, monitor: Monitor, k: usize) -> Self {
        Self { folder, monitor, k, kept: Vec::new(), holds_something: false }
    }

    /// The metric that the best is chosen by.
    pub fn metric(&self) -> &str {
        &self.monitor.metric
    }

    /// Returns the metric that is monitored, with its best value so far.
    pub fn monitor(&self) -> Monitor {
        Monitor { best: self.best().map(|kept| kept.value), ..self.monitor.clone() }
    }

    /// The best so far.
    pub fn best(&self) -> Option<&Kept> {
        self.kept.first()
    }

    /// Takes in the result of a validation.
    ///
    /// # Errors
    /// When the metric is unknown.
    pub fn on_validation_end(&mut self, record: &Record) -> Result<Changes> {
        let value = self.monitor.value(record)?;
        let mut changes = Changes::default();
        // What is not finite is no result to keep, but a run that has no other still has weights to look at.
        if !value.is_finite() {
            if !std::mem::replace(&mut self.holds_something, true) {
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
            self.holds_something = true;
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

    /// What must be saved to continue.
    pub fn state(&self) -> &[Kept] {
        &self.kept
    }

    /// Restores [`ModelCheckpoint::state`].
    pub fn load_state(&mut self, kept: Vec<Kept>) {
        self.holds_something = !kept.is_empty();
        self.kept = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files after a row of validations, with the value that each holds.
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
    fn the_k_best_stay_and_the_best_has_its_own_name() {
        let got = files(Mode::Max, 2, &[0.5, f64::NAN, 0.7, 0.6, 0.4, 0.65]);
        let expected =
            [(BEST, 0.7), ("epoch=1-step=2.safetensors", 0.7), ("epoch=1-step=5.safetensors", 0.65)];
        assert_eq!(got, expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn one_best_has_one_file() {
        assert_eq!(files(Mode::Min, 1, &[f64::INFINITY, 3.0, 2.0, 2.5]), [(BEST.to_owned(), 2.0)]);
    }
}
