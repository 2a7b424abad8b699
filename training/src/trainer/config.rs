//! The trainer's flags: one group per component of the trainer, defined in the file of that component.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};
use text_recognizer::Result;

use super::averaging::AveragingConfig;
use super::budget::BudgetConfig;
use super::callbacks::{CheckpointConfig, EarlyStoppingConfig};
use super::device::DeviceConfig;
use super::gradients::GradientConfig;
use super::loaders::LoaderConfig;
use super::loggers::LoggingConfig;
use super::nonfinite::NonfiniteConfig;
use super::validation::ValidationConfig;
use crate::flags::default_flags;

/// The configuration of a training run.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerConfig {
    /// Set the seed of the initial weights, the order of the data and the dropout noise.
    #[arg(long = "seed", default_value_t = 42)]
    pub seed: u64,
    /// Smoke test: run one batch of each split and write no files.
    #[arg(long = "fast_dev_run", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub fast_dev_run: bool,
    /// Start a new run from the weights of this checkpoint, or of another safetensors file such as a PyTorch
    /// state_dict.
    #[arg(long = "load_checkpoint", value_name = "FILE")]
    pub load_checkpoint: Option<PathBuf>,
    /// The length of the run.
    #[command(flatten, next_help_heading = "Budget")]
    pub budget: BudgetConfig,
    /// Batch sizes and numbers of batches.
    #[command(flatten, next_help_heading = "Batches")]
    pub loaders: LoaderConfig,
    /// The schedule of validation.
    #[command(flatten, next_help_heading = "Validation")]
    pub validation: ValidationConfig,
    /// Accumulation and clipping of gradients.
    #[command(flatten, next_help_heading = "Gradients")]
    pub gradients: GradientConfig,
    /// The handling of NaN and infinity.
    #[command(flatten, next_help_heading = "NaN and infinity")]
    pub nonfinite: NonfiniteConfig,
    /// Averages of the weights.
    #[command(flatten, next_help_heading = "Average of the weights")]
    pub averaging: AveragingConfig,
    /// Early stopping.
    #[command(flatten, next_help_heading = "Early stopping")]
    pub early_stopping: EarlyStoppingConfig,
    /// Checkpoints.
    #[command(flatten, next_help_heading = "Checkpoints")]
    pub checkpoint: CheckpointConfig,
    /// Logging.
    #[command(flatten, next_help_heading = "Logging")]
    pub logging: LoggingConfig,
    /// Device, threads and precision.
    #[command(flatten, next_help_heading = "Device")]
    pub device: DeviceConfig,
}

impl Default for TrainerConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl TrainerConfig {
    /// The flags of this struct, without its groups, that a resumed run may change.
    const FREE: &[&str] = &["load_checkpoint"];

    /// Returns the flags of all groups that a resumed run may change.
    pub fn free() -> impl Iterator<Item = &'static str> {
        let groups = [
            Self::FREE,
            BudgetConfig::FREE,
            LoaderConfig::FREE,
            ValidationConfig::FREE,
            GradientConfig::FREE,
            NonfiniteConfig::FREE,
            EarlyStoppingConfig::FREE,
            CheckpointConfig::FREE,
            LoggingConfig::FREE,
            DeviceConfig::FREE,
        ];
        groups.into_iter().flatten().copied()
    }

    /// Checks the values of all groups.
    ///
    /// # Errors
    /// Fails if a value is impossible; the error names the first one.
    pub fn validate(&self) -> Result<()> {
        self.budget.validate()?;
        self.loaders.validate()?;
        self.validation.validate()?;
        self.gradients.validate()?;
        self.averaging.validate()?;
        self.early_stopping.validate()?;
        self.checkpoint.validate()?;
        self.logging.validate()?;
        self.device.validate()
    }

    /// Returns the configuration with numbers in place of `auto`, for a training split of `rows` rows.
    pub fn resolved(&self, rows: usize) -> Self {
        let mut config = self.clone();
        config.loaders.batch_size = self.loaders.batch_size(rows).into();
        let steps = self.gradients.steps(self.loaders.train_batches(rows));
        config.budget.max_epochs = self.budget.max_epochs(steps).into();
        config
    }

    /// Returns the configuration with the changes of `--fast_dev_run`: one epoch of one batch of each split.
    pub fn effective(&self) -> Self {
        let mut config = self.clone();
        if self.fast_dev_run {
            config.budget.max_epochs = 1.into();
            config.budget.min_epochs = 0;
            config.validation.num_sanity_val_steps = 0;
            config.loaders.smoke_test();
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trainer_config_default_is_valid() {
        TrainerConfig::default().validate().unwrap();
    }
}
