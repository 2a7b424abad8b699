//! The loaders of a run and their numbers of batches.

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};
use text_recognizer::Error;
use text_recognizer::data::{DataLoader, DataSplits, Dataset, Shuffle};

use super::strategy::Strategy;
use crate::flags::{Auto, default_flags};

/// A limit of batches, as a number or as a share of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BatchLimit {
    /// A number of batches.
    Count(usize),
    /// A share of the batches of an epoch, in 0..=1.
    Share(f64),
}

impl BatchLimit {
    /// Returns the limit as a number of batches, at most `all`.
    pub fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count.min(all),
            Self::Share(share) => (all as f64 * share) as usize,
        }
    }
}

impl std::str::FromStr for BatchLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(count) = text.parse() {
            return Ok(Self::Count(count));
        }
        match text.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self::Share(share)),
            _ => {
                Err("expected a number of batches such as 10, or a share of all batches such as 0.25 or 1.0"
                    .into())
            }
        }
    }
}

impl std::fmt::Display for BatchLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Share(share) => write!(f, "{share:?}"),
        }
    }
}

/// The flags for the size of batches and their number per split.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoaderConfig {
    /// Train on batches of this many rows; auto: a thousandth of the training rows, 32 to 1,024.
    #[arg(long = "batch_size", default_value_t = Auto::Number(128))]
    pub batch_size: Auto<usize>,
    /// Train and validate on the same batches (number or share), unshuffled, to check that the model can overfit; 0: off.
    #[arg(long = "overfit_batches", default_value = "0")]
    pub overfit_batches: BatchLimit,
    /// Train on this many batches (number or share) per epoch.
    #[arg(long = "limit_train_batches", default_value = "1.0")]
    pub limit_train_batches: BatchLimit,
    /// Validate on this many batches (number or share) of at least 1,024 rows.
    #[arg(long = "limit_val_batches", default_value = "1.0")]
    pub limit_val_batches: BatchLimit,
    /// Test on this many batches (number or share) of at least 1,024 rows.
    #[arg(long = "limit_test_batches", default_value = "1.0")]
    pub limit_test_batches: BatchLimit,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl LoaderConfig {
    /// The flags that a resumed run may change.
    pub const FREE: &[&str] = &["limit_test_batches"];

    /// Checks the values.
    ///
    /// # Errors
    /// Fails if a value is impossible; the error names the first one.
    pub fn validate(&self) -> text_recognizer::Result<()> {
        if self.batch_size == Auto::Number(0) {
            return Err(Error::invalid("batch_size", 0, "at least 1"));
        }
        Ok(())
    }

    /// Limits each split to one batch.
    pub fn smoke_test(&mut self) {
        let one = BatchLimit::Count(1);
        (self.limit_train_batches, self.limit_val_batches, self.limit_test_batches) = (one, one, one);
    }

    /// Returns the rows per batch of a training split of `rows` rows.
    pub fn batch_size(&self, rows: usize) -> usize {
        self.batch_size.number().unwrap_or_else(|| (rows / 1000).clamp(32, 1024))
    }

    /// Returns the number of batches in an epoch of a training split of `rows` rows.
    pub fn train_batches(&self, rows: usize) -> usize {
        let batches = rows.div_ceil(self.batch_size(rows).max(1));
        match self.overfit_batches.of(batches) {
            0 => self.limit_train_batches.of(batches),
            overfit => overfit,
        }
    }
}

/// The loaders of a run.
#[derive(Debug)]
pub struct Loaders {
    /// The training split, shuffled unless `--overfit_batches` is set.
    pub train: DataLoader,
    /// The validation split; `None` if `--limit_val_batches` leaves no batch.
    pub val: Option<DataLoader>,
    /// Whether `val` serves rows of the training split, to check that the model can overfit.
    pub overfits: bool,
    /// The test split; `None` if the data has none or `--limit_test_batches` leaves no batch.
    pub test: Option<DataLoader>,
}

impl Loaders {
    /// Creates the loaders with the batch sizes and limits of `config`, each of which serves this rank's rows of a batch. Moves
    /// the data to `device` and converts its floating-point values to the dtype `kind`. `shuffle` is the order of the
    /// training split.
    ///
    /// # Errors
    /// Fails if a split is empty or does not fit on the device, or `--limit_train_batches` leaves no batch.
    pub fn new(
        splits: DataSplits,
        config: &LoaderConfig,
        shuffle: Shuffle,
        (device, kind): (Device, Kind),
        strategy: &dyn Strategy,
    ) -> Result<Self> {
        let limited = |loader: DataLoader, limit: BatchLimit| {
            let batches = limit.of(loader.len());
            loader.limit(batches)
        };
        let serve = |split: &str, dataset: Box<dyn Dataset>, batch_size, shuffle| {
            let dataset = dataset.to(device, kind)?;
            let loader = DataLoader::new(dataset, batch_size, shuffle);
            let loader = loader.and_then(|loader| loader.shard(strategy.rank(), strategy.world_size()));
            loader.with_context(|| format!("cannot load the {split} split"))
        };
        let batch_size = config.batch_size(splits.train.len());
        // Metrics do not depend on the size of a batch, and large batches are faster.
        let evaluated = |split, dataset| serve(split, dataset, batch_size.max(1024), Shuffle::No);
        let present = |loader: DataLoader| (!loader.is_empty()).then_some(loader);

        let test = splits.test.map(|test| evaluated("test", test)).transpose()?;
        let test = test.map(|test| limited(test, config.limit_test_batches)).and_then(present);
        let overfit = config.overfit_batches.of(splits.train.len().div_ceil(batch_size));
        if overfit > 0 {
            let train = serve("training", splits.train, batch_size, Shuffle::No)?.limit(overfit);
            let val = train.share().limit(overfit);
            return Ok(Self { train, val: Some(val), overfits: true, test });
        }
        let train = serve("training", splits.train, batch_size, shuffle)?;
        let train = limited(train, config.limit_train_batches);
        if train.is_empty() {
            let limit = config.limit_train_batches;
            return Err(Error::invalid("limit_train_batches", limit, "at least one batch").into());
        }
        let val = limited(evaluated("validation", splits.val)?, config.limit_val_batches);
        Ok(Self { train, val: present(val), overfits: false, test })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_size_auto_grows_with_the_split_within_bounds() {
        let auto = LoaderConfig { batch_size: Auto::AUTO, ..LoaderConfig::default() };
        for (rows, size, batches) in [(1, 32, 1), (91, 32, 3), (50_000, 50, 1000), (10_000_000, 1024, 9766)] {
            assert_eq!((auto.batch_size(rows), auto.train_batches(rows)), (size, batches), "{rows}");
        }
        let limited = LoaderConfig { limit_train_batches: BatchLimit::Count(2), ..auto.clone() };
        let overfit = LoaderConfig { overfit_batches: BatchLimit::Count(1), ..limited.clone() };
        assert_eq!((limited.train_batches(91), overfit.train_batches(91)), (2, 1));
        assert_eq!(LoaderConfig::default().batch_size(91), 128);
    }

    #[test]
    fn batch_limit_of_integer_is_a_count_and_of_decimal_a_share() {
        for (text, of_ten) in [("3", 3), ("0.5", 5), ("1.0", 10), ("1", 1), ("0", 0), ("99", 10)] {
            assert_eq!(text.parse::<BatchLimit>().unwrap().of(10), of_ten, "{text}");
        }
        for text in ["-1", "1.5", "x", "nan"] {
            assert!(text.parse::<BatchLimit>().is_err(), "{text}");
        }
    }
}
