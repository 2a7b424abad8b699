//! The choice of the best checkpoints of a run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use text_recognizer::util::files::write_atomic;
use text_recognizer::{Error, checkpoint};

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
        let minutes = self.checkpoint_every_n_minutes.unwrap_or(1.0);
        if !(minutes > 0.0 && minutes.is_finite()) {
            let expected = "a finite number greater than 0";
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

    /// Returns whether a file has the name of a kept checkpoint.
    fn is_file_name(name: &str) -> bool {
        let numbers = name.strip_prefix("epoch=").and_then(|rest| rest.strip_suffix(".safetensors"));
        let numbers = numbers.and_then(|rest| rest.split_once("-step="));
        numbers.is_some_and(|(epoch, step)| epoch.parse::<u64>().is_ok() && step.parse::<u64>().is_ok())
    }
}

/// The state of [`ModelCheckpoint`] in a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "AnyState")]
pub struct State {
    /// The best checkpoints, best first.
    kept: Vec<Kept>,
    /// Whether `best.safetensors` exists.
    best_exists: bool,
}

/// The state of this version, or the list of an earlier one.
#[derive(Deserialize)]
#[serde(untagged)]
enum AnyState {
    State { kept: Vec<Kept>, best_exists: bool },
    List(Vec<Kept>),
}

impl From<AnyState> for State {
    fn from(state: AnyState) -> Self {
        match state {
            AnyState::State { kept, best_exists } => Self { kept, best_exists },
            AnyState::List(kept) => Self { best_exists: !kept.is_empty(), kept },
        }
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

    /// Returns the file of the best checkpoint; `None` before the first validation.
    pub fn path(&self) -> Option<PathBuf> {
        self.best_exists.then(|| self.folder.join(BEST))
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
    pub fn state(&self) -> State {
        State { kept: self.kept.clone(), best_exists: self.best_exists }
    }

    /// Restores [`ModelCheckpoint::state`], and makes the files those of the state: a killed process may have written files
    /// after it, `k` may differ, and files may be missing. Warns about missing files.
    ///
    /// # Errors
    /// Fails if a file cannot be written or removed.
    pub fn load_state(&mut self, state: State) -> Result<()> {
        (self.kept, self.best_exists) = (state.kept, state.best_exists);
        self.kept.truncate(self.k);
        self.restore_best()?;
        if self.k > 1 {
            self.restore_others()?;
        }
        self.remove_unknown()
    }

    /// Restores the file of the best checkpoint, or starts a new choice if it is lost.
    fn restore_best(&mut self) -> Result<()> {
        let best = self.folder.join(BEST);
        if !self.best_exists || best.is_file() {
            return Ok(());
        }
        if let Some(other) =
            self.kept.first().map(|kept| self.folder.join(kept.file_name())).filter(|p| p.is_file())
        {
            log::warn!("{} is missing: copied it from {}", best.display(), other.display());
            return copy(&other, &best);
        }
        log::warn!(
            "{} is missing: choosing the best among the next validations; without one, the results are those of the last weights",
            best.display()
        );
        self.kept.clear();
        self.best_exists = false;
        Ok(())
    }

    /// Restores the files that are named by epoch and step, and forgets those that are lost. A run that kept one checkpoint
    /// until now has no such file.
    fn restore_others(&mut self) -> Result<()> {
        let missing = |kept: &Kept| !self.folder.join(kept.file_name()).is_file();
        if let Some(first) = self.kept.first().filter(|kept| missing(kept)) {
            let best = self.folder.join(BEST);
            let metadata = checkpoint::read(&best)?.metadata;
            if (metadata["epoch"].as_u64(), metadata["step"].as_u64())
                == (Some(first.epoch), Some(first.step))
            {
                copy(&best, &self.folder.join(first.file_name()))?;
            }
        }
        let (lost, kept) = self.kept.iter().cloned().partition::<Vec<_>, _>(missing);
        for lost in lost {
            log::warn!(
                "{} is missing: it is no longer among the best",
                self.folder.join(lost.file_name()).display()
            );
        }
        self.kept = kept;
        Ok(())
    }

    /// Removes checkpoints that are not in the state.
    fn remove_unknown(&self) -> Result<()> {
        let known = |name: &str| match name {
            BEST => self.best_exists,
            name => {
                !Kept::is_file_name(name)
                    || self.k > 1 && self.kept.iter().any(|kept| kept.file_name() == name)
            }
        };
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let is_file = entry.file_type().is_ok_and(|kind| !kind.is_dir());
            if is_file && entry.file_name().to_str().is_some_and(|name| !known(name)) {
                let path = entry.path();
                log::info!("removing {}: it is not among the best", path.display());
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }
}

/// Copies a file, so that it appears whole.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    Ok(write_atomic(to, &bytes)?)
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

    #[test]
    fn state_of_an_earlier_version_is_read() {
        let kept = vec![Kept { value: 1.0, epoch: 2, step: 3 }];
        let list: State = serde_json::from_value(serde_json::to_value(&kept).unwrap()).unwrap();
        assert_eq!(list, State { kept, best_exists: true });
        assert_eq!(serde_json::from_str::<State>("[]").unwrap(), State::default());
        let json = serde_json::to_string(&list).unwrap();
        assert_eq!(serde_json::from_str::<State>(&json).unwrap(), list);
    }

    /// Writes the checkpoints of epochs 1 to 4 as a run of `save_top_k` k, whose best is epoch 2, then 3.
    fn written(folder: &Path, k: usize) -> State {
        let write = |name: &str, epoch: u64| {
            let metadata = serde_json::json!({"epoch": epoch, "step": epoch});
            checkpoint::write(&folder.join(name), &[], &metadata).unwrap();
        };
        let kept = [2, 3, 1, 4].map(|epoch| Kept { value: epoch as f64, epoch, step: epoch });
        write(BEST, 2);
        write("epoch=9-step=9.safetensors", 9);
        write("last.safetensors", 9);
        if k > 1 {
            kept[..k].iter().for_each(|kept| write(&kept.file_name(), kept.epoch));
        }
        State { kept: kept[..k].to_vec(), best_exists: true }
    }

    fn resumed(folder: &Path, k: usize, state: State) -> (Vec<u64>, Vec<String>) {
        let mut checkpoint = ModelCheckpoint::new(folder.to_owned(), Monitor::new("val", Mode::Min), k);
        checkpoint.load_state(state).unwrap();
        let names =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != "last.safetensors").collect();
        names.sort();
        (checkpoint.kept.iter().map(|kept| kept.epoch).collect(), names)
    }

    #[test]
    fn load_state_makes_the_files_those_of_the_state() {
        let named = |epoch: u64| format!("epoch={epoch}-step={epoch}.safetensors");
        let all = |epochs: &[u64]| {
            let mut names: Vec<String> = epochs.iter().map(|&epoch| named(epoch)).collect();
            names.sort();
            names.insert(0, BEST.into());
            (epochs.to_vec(), names)
        };
        for (before, now, expected) in [
            (3, 3, all(&[2, 3, 1])),
            (3, 2, all(&[2, 3])),
            (3, 1, (vec![2], vec![BEST.into()])),
            (1, 1, (vec![2], vec![BEST.into()])),
            (1, 3, all(&[2])),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let state = written(folder.path(), before);
            assert_eq!(resumed(folder.path(), now, state), expected, "{before} -> {now}");
        }
    }

    #[test]
    fn load_state_without_a_file_forgets_its_checkpoint() {
        let named = |epoch: u64| format!("epoch={epoch}-step={epoch}.safetensors");
        for (k, lost, expected) in [
            (3, named(3), (vec![2, 1], vec![BEST.into(), named(1), named(2)])),
            (3, BEST.into(), (vec![2, 3, 1], vec![BEST.into(), named(1), named(2), named(3)])),
            (1, BEST.into(), (vec![], vec![])),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let state = written(folder.path(), k);
            fs::remove_file(folder.path().join(&lost)).unwrap();
            assert_eq!(resumed(folder.path(), k, state), expected, "{lost}");
        }
    }
}
