//! Keeps the best checkpoints of a run.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Monitor;
use crate::trainer::record::Record;

/// The best checkpoint's file.
pub const BEST: &str = "best.safetensors";
/// The last checkpoint's file.
pub const LAST: &str = "last.safetensors";

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

/// Keeps the `k` best checkpoints: the best as [`BEST`], and where `k > 1` each under its epoch and step as well.
#[derive(Debug)]
pub struct ModelCheckpoint {
    folder: PathBuf,
    monitor: Monitor,
    k: usize,
    /// Best first.
    kept: Vec<Kept>,
}

impl ModelCheckpoint {
    /// Keeps the `k` best by `monitor` in `folder`.
    pub fn new(folder: PathBuf, monitor: Monitor, k: usize) -> Self {
        Self { folder, monitor, k, kept: Vec::new() }
    }

    /// The metric that the best is chosen by.
    pub fn metric(&self) -> &str {
        &self.monitor.metric
    }

    /// The best so far.
    pub fn best(&self) -> Option<&Kept> {
        self.kept.first()
    }

    /// Takes in the result of a validation; calls `save` for each file that is to hold the current weights.
    ///
    /// # Errors
    /// When the metric is unknown, or a file cannot be written or removed.
    pub fn on_validation_end(&mut self, record: &Record, save: &dyn Fn(&Path) -> Result<()>) -> Result<()> {
        let value = self.monitor.value(record)?;
        fs::create_dir_all(&self.folder).with_context(|| format!("creating {}", self.folder.display()))?;
        // An infinity cannot be saved as JSON, and is no better than NaN as a result to keep.
        let value = if value.is_finite() {
            value
        } else {
            return self.keep_something(save);
        };
        let place = self.kept.iter().position(|kept| self.monitor.is_better(value, kept.value, 0.0));
        let place = place.unwrap_or(self.kept.len());
        if place >= self.k {
            return Ok(());
        }
        let new = Kept { value, epoch: record.epoch, step: record.step };
        if self.k > 1 {
            save(&self.folder.join(new.file_name()))?;
        }
        if place == 0 {
            save(&self.folder.join(BEST))?;
        }
        self.kept.insert(place, new);
        for dropped in self.kept.drain(self.k.min(self.kept.len())..) {
            let path = self.folder.join(dropped.file_name());
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A run whose every validation was non-finite still has weights to look at.
    fn keep_something(&self, save: &dyn Fn(&Path) -> Result<()>) -> Result<()> {
        let best = self.folder.join(BEST);
        if best.exists() { Ok(()) } else { save(&best) }
    }

    /// What must be saved to continue.
    pub fn state(&self) -> &[Kept] {
        &self.kept
    }

    /// Restores [`ModelCheckpoint::state`].
    pub fn load_state(&mut self, kept: Vec<Kept>) {
        self.kept = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::config::Mode;

    fn files(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_k_best_stay_and_the_best_has_its_own_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut checkpoint =
            ModelCheckpoint::new(folder.path().to_owned(), Monitor::new("val_acc", Mode::Max), 2);
        for (step, acc) in [0.5, f64::NAN, 0.7, 0.6, 0.4, 0.65].into_iter().enumerate() {
            let record = Record { epoch: 1, step: step as u64, values: vec![("val_acc".into(), acc)] };
            checkpoint.on_validation_end(&record, &|path| Ok(fs::write(path, acc.to_string())?)).unwrap();
        }
        assert_eq!(files(folder.path()), [BEST, "epoch=1-step=2.safetensors", "epoch=1-step=5.safetensors"]);
        assert_eq!(fs::read_to_string(folder.path().join(BEST)).unwrap(), "0.7");
        assert_eq!(checkpoint.best().unwrap().step, 2);
    }

    #[test]
    fn one_best_has_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut checkpoint =
            ModelCheckpoint::new(folder.path().to_owned(), Monitor::new("val_loss", Mode::Min), 1);
        for loss in [f64::INFINITY, 3.0, 2.0, 2.5] {
            let record = Record { epoch: 1, step: 0, values: vec![("val_loss".into(), loss)] };
            checkpoint.on_validation_end(&record, &|path| Ok(fs::write(path, loss.to_string())?)).unwrap();
        }
        assert_eq!(files(folder.path()), [BEST]);
        assert_eq!(fs::read_to_string(folder.path().join(BEST)).unwrap(), "2");
    }
}
