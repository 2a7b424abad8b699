//! The trainer's flags.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use serde::{Deserialize, Serialize};
use text_recognizer::util::default_flags;
use text_recognizer::{Error, Result};

/// A number of batches, or a share of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Batches {
    /// That many.
    Count(usize),
    /// That share of an epoch, in 0..=1.
    Share(f64),
}

impl Batches {
    /// How many of `all` batches that is.
    pub fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count.min(all),
            Self::Share(share) => (all as f64 * share) as usize,
        }
    }
}

impl std::str::FromStr for Batches {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(count) = text.parse() {
            return Ok(Self::Count(count));
        }
        match text.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self::Share(share)),
            _ => Err("expected a number of batches, as in 10, or a share of them, as in 0.25 or 1.0".into()),
        }
    }
}

impl std::fmt::Display for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Share(share) => write!(f, "{share:?}"),
        }
    }
}

/// Whether a smaller or a larger value is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Mode {
    /// Smaller is better.
    Min,
    /// Larger is better.
    Max,
}

/// How gradients are clipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum ClipAlgorithm {
    /// By the norm of all gradients together.
    Norm,
    /// Each element by itself.
    Value,
}

/// What happens when a loss or a gradient is NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum OnNonfinite {
    /// The run ends with an error that names where it was born.
    Stop,
    /// The step is left out.
    Skip,
    /// Weights and optimiser return to the last checkpoint, and the data goes on.
    Restore,
}

/// The arithmetic of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Precision {
    /// Single precision.
    #[value(name = "32")]
    #[serde(rename = "32")]
    Single,
    /// Double precision.
    #[value(name = "64")]
    #[serde(rename = "64")]
    Double,
    /// Matrix products in bfloat16, everything else in single precision.
    #[value(name = "bf16")]
    #[serde(rename = "bf16")]
    Bf16,
}

/// What is measured of where the time goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum ProfilerName {
    /// A table of phases, printed at the end.
    Simple,
}

/// How a run is trained, watched and kept.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerConfig {
    /// Seed of the initial weights, the order of the data and the dropout noise.
    #[arg(long = "seed", default_value_t = 42)]
    pub seed: u64,
    /// Rows per batch.
    #[arg(long = "batch_size", default_value_t = 128)]
    pub batch_size: usize,
    /// Stop after this many epochs.
    #[arg(long = "max_epochs", default_value_t = 10)]
    pub max_epochs: u64,
    /// Do not stop early before this many epochs.
    #[arg(long = "min_epochs", default_value_t = 0)]
    pub min_epochs: u64,
    /// Stop after this many optimiser steps.
    #[arg(long = "max_steps")]
    pub max_steps: Option<u64>,
    /// Stop after this much time, as DD:HH:MM:SS, HH:MM:SS, or seconds.
    #[arg(long = "max_time", value_parser = parse_time)]
    pub max_time: Option<u64>,
    /// cpu, cuda, cuda:N, mps, or auto: the best there is.
    #[arg(long = "device", default_value = "auto")]
    pub device: String,
    /// Threads of one operation [default: one for small models, else every core].
    #[arg(long = "threads")]
    pub threads: Option<usize>,
    /// Arithmetic: single, double, or bfloat16 matrix products.
    #[arg(long = "precision", value_enum, default_value_t = Precision::Single)]
    pub precision: Precision,
    /// The same numbers on every run of this machine: one thread unless --threads says more, reproducible CUDA kernels.
    #[arg(long = "deterministic", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub deterministic: bool,
    /// One batch of each part, no files: does it run at all?
    #[arg(long = "fast_dev_run", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub fast_dev_run: bool,
    /// Train on this many batches (or share) again and again, unshuffled; validate on the same: can it overfit?
    #[arg(long = "overfit_batches", default_value = "0")]
    pub overfit_batches: Batches,
    /// Training batches an epoch.
    #[arg(long = "limit_train_batches", default_value = "1.0")]
    pub limit_train_batches: Batches,
    /// Validation batches, of at least 1,024 rows each.
    #[arg(long = "limit_val_batches", default_value = "1.0")]
    pub limit_val_batches: Batches,
    /// Test batches, of at least 1,024 rows each.
    #[arg(long = "limit_test_batches", default_value = "1.0")]
    pub limit_test_batches: Batches,
    /// Validate every that many epochs.
    #[arg(long = "check_val_every_n_epoch", default_value_t = 1)]
    pub check_val_every_n_epoch: u64,
    /// Validate within an epoch too: every that many batches, or that share of an epoch.
    #[arg(long = "val_check_interval", default_value = "1.0")]
    pub val_check_interval: Batches,
    /// Validation batches to try before training, so that a broken validation shows at once.
    #[arg(long = "num_sanity_val_steps", default_value_t = 2)]
    pub num_sanity_val_steps: usize,
    /// Clip gradients to this size; 0: not.
    #[arg(long = "gradient_clip_val", default_value_t = 0.0)]
    pub gradient_clip_val: f64,
    /// What is clipped.
    #[arg(long = "gradient_clip_algorithm", value_enum, default_value_t = ClipAlgorithm::Norm)]
    pub gradient_clip_algorithm: ClipAlgorithm,
    /// Batches whose gradients make one step.
    #[arg(long = "accumulate_grad_batches", default_value_t = 1)]
    pub accumulate_grad_batches: u64,
    /// Steps between two logged training losses.
    #[arg(long = "log_every_n_steps", default_value_t = 50)]
    pub log_every_n_steps: u64,
    /// Log the norm of all gradients.
    #[arg(long = "track_grad_norm", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub track_grad_norm: bool,
    /// What to do about a loss or gradient that is NaN or infinite.
    #[arg(long = "on_nonfinite", value_enum, default_value_t = OnNonfinite::Stop)]
    pub on_nonfinite: OnNonfinite,
    /// Take a layer's output that is NaN or infinite for such a loss, also where loss and gradients hide it (slow).
    #[arg(long = "detect_anomaly", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub detect_anomaly: bool,
    /// Show where the time went.
    #[arg(long = "profiler", value_enum)]
    pub profiler: Option<ProfilerName>,
    /// Evaluate and keep an exponential moving average of the weights with this decay; 0: not.
    #[arg(long = "ema_decay", default_value_t = 0.0)]
    pub ema_decay: f64,
    /// Evaluate and keep the mean of the weights after each of the last epochs (from 80 % of --max_epochs on).
    #[arg(long = "stochastic_weight_avg", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub stochastic_weight_avg: bool,
    /// Stop when the monitored metric has not improved for that many validations; 0: do not stop early.
    #[arg(long = "early_stop_patience", visible_alias = "patience", default_value_t = 10)]
    pub early_stop_patience: u64,
    /// The metric that early stopping watches.
    #[arg(long = "early_stop_monitor", default_value = "val_loss")]
    pub early_stop_monitor: String,
    /// Whether it should be small or large.
    #[arg(long = "early_stop_mode", value_enum, default_value_t = Mode::Min)]
    pub early_stop_mode: Mode,
    /// A smaller change is no improvement.
    #[arg(long = "early_stop_min_delta", default_value_t = 0.0)]
    pub early_stop_min_delta: f64,
    /// The metric that the best checkpoint is chosen by.
    #[arg(long = "checkpoint_monitor", default_value = "val_loss")]
    pub checkpoint_monitor: String,
    /// Whether it should be small or large.
    #[arg(long = "checkpoint_mode", value_enum, default_value_t = Mode::Min)]
    pub checkpoint_mode: Mode,
    /// How many of the best checkpoints to keep.
    #[arg(long = "save_top_k", default_value_t = 1)]
    pub save_top_k: usize,
    /// Save the last checkpoint within an epoch too: every that many steps.
    #[arg(long = "checkpoint_every_n_steps")]
    pub checkpoint_every_n_steps: Option<u64>,
    /// Save the last checkpoint within an epoch too: every that many minutes.
    #[arg(long = "checkpoint_every_n_minutes")]
    pub checkpoint_every_n_minutes: Option<f64>,
    /// Start from the weights of this checkpoint, as a new run.
    #[arg(long = "load_checkpoint")]
    pub load_checkpoint: Option<PathBuf>,
    /// The folder that holds the runs' folders.
    #[arg(long = "log_dir", default_value = "logs")]
    pub log_dir: PathBuf,
}

impl Default for TrainerConfig {
    fn default() -> Self {
        default_flags()
    }
}

const MAX_THREADS: usize = 1024;

fn parse_time(text: &str) -> Result<u64, String> {
    let units = [1, 60, 3600, 86400];
    let parts: Vec<&str> = text.split(':').rev().collect();
    let seconds = parts.iter().zip(units).map(|(part, unit)| part.parse::<u64>().ok()?.checked_mul(unit));
    (parts.len() <= units.len())
        .then(|| seconds.sum::<Option<u64>>())
        .flatten()
        .ok_or_else(|| "expected DD:HH:MM:SS, HH:MM:SS, MM:SS, or seconds".into())
}

impl TrainerConfig {
    /// Refuses what cannot be trained with.
    ///
    /// # Errors
    /// Names the first impossible value.
    pub fn validate(&self) -> Result<()> {
        let at_least_one = [
            ("batch_size", self.batch_size as u64),
            ("check_val_every_n_epoch", self.check_val_every_n_epoch),
            ("accumulate_grad_batches", self.accumulate_grad_batches),
            ("log_every_n_steps", self.log_every_n_steps),
            ("save_top_k", self.save_top_k as u64),
            ("checkpoint_every_n_steps", self.checkpoint_every_n_steps.unwrap_or(1)),
        ];
        for (name, value) in at_least_one {
            if value == 0 {
                return Err(Error::invalid(name, value, "at least 1"));
            }
        }
        // GNU's OpenMP lays out its team on the stack.
        if let Some(threads) = self.threads.filter(|threads| !(1..=MAX_THREADS).contains(threads)) {
            return Err(Error::invalid("threads", threads, format!("1 to {MAX_THREADS}")));
        }
        let not_negative = [
            ("gradient_clip_val", self.gradient_clip_val),
            ("early_stop_min_delta", self.early_stop_min_delta),
            ("checkpoint_every_n_minutes", self.checkpoint_every_n_minutes.unwrap_or(0.0)),
        ];
        for (name, value) in not_negative {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::invalid(name, value, "a finite number, 0 or greater"));
            }
        }
        if !(0.0..1.0).contains(&self.ema_decay) {
            return Err(Error::invalid("ema_decay", self.ema_decay, "a number in 0..1, 1 excluded"));
        }
        if self.ema_decay > 0.0 && self.stochastic_weight_avg {
            return Err(Error::invalid(
                "stochastic_weight_avg",
                true,
                "no --ema_decay beside it: one average",
            ));
        }
        if self.min_epochs > self.max_epochs {
            return Err(Error::invalid(
                "min_epochs",
                self.min_epochs,
                format!("at most max_epochs, {}", self.max_epochs),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound() {
        TrainerConfig::default().validate().unwrap();
    }

    #[test]
    fn times() {
        for (text, seconds) in [("90", 90), ("02:03", 123), ("1:00:00", 3600), ("01:00:00:01", 86401)] {
            assert_eq!(parse_time(text), Ok(seconds), "{text}");
        }
        for text in ["", "x", "1:2:3:4:5", "-1", "99999999999999999999:0"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn batches_are_counts_or_shares() {
        for (text, of_ten) in [("3", 3), ("0.5", 5), ("1.0", 10), ("1", 1), ("0", 0), ("99", 10)] {
            assert_eq!(text.parse::<Batches>().unwrap().of(10), of_ten, "{text}");
        }
        for text in ["-1", "1.5", "x", "nan"] {
            assert!(text.parse::<Batches>().is_err(), "{text}");
        }
    }
}
