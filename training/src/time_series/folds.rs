//! The cutoffs of a backtest with a rolling origin.

use anyhow::{Result, ensure};
use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};

use crate::flags::default_flags;
use crate::format::count;

/// The folds of a backtest (Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", section 5.10: time series
/// cross-validation). Each fold forecasts the rows after its cutoff from the rows before it.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FoldConfig {
    /// Forecast from this many cutoffs.
    #[arg(long = "folds", default_value_t = 3)]
    pub folds: usize,
    /// Set the rows from one cutoff to the next [default: --horizon times --stride].
    #[arg(long = "step")]
    pub step: Option<usize>,
    /// Leave out this many time steps between a cutoff and the first forecast.
    #[arg(long = "gap", default_value_t = 0)]
    pub gap: usize,
    /// Train a model per fold on the rows before its cutoff; false: train one model on the rows before the first cutoff.
    #[arg(long = "refit", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub refit: bool,
}

impl Default for FoldConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl FoldConfig {
    /// The most folds.
    const MOST: usize = 10_000;

    /// Returns the cutoffs, in ascending order: the numbers of rows before each fold's first forecast and its gap. The last fold ends
    /// with the last of `rows` rows. A forecast has `horizon` time steps, each `stride` rows after the one before.
    ///
    /// # Errors
    /// Fails if a number is 0, or if there are too few rows for all folds.
    pub fn cutoffs(&self, rows: usize, horizon: usize, stride: usize) -> Result<Vec<usize>> {
        let Self { folds, gap, .. } = *self;
        ensure!((1..=Self::MOST).contains(&folds), "--folds is {folds}: expected 1 to {}", Self::MOST);
        let step = self.step.unwrap_or(horizon.saturating_mul(stride));
        ensure!(step > 0, "--step is 0: expected at least 1 row from one cutoff to the next");
        let reach = gap.saturating_add(horizon).saturating_mul(stride);
        let needed = (folds - 1).saturating_mul(step).saturating_add(reach).saturating_add(1);
        ensure!(
            needed <= rows,
            "cannot backtest {}: found {}, expected at least {needed} for {folds} cutoffs with {step} rows from one to the next and \
             a forecast of {reach} rows; try fewer --folds, a smaller --step or a smaller --horizon",
            count(folds as u64, "fold"),
            count(rows as u64, "row")
        );
        Ok((0..folds).map(|fold| rows - reach - (folds - 1 - fold) * step).collect())
    }

    /// Returns the row of a time step, from 0, of the forecast from a cutoff.
    pub fn row(&self, cutoff: usize, step: usize, stride: usize) -> usize {
        cutoff + (self.gap + step + 1) * stride - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutoffs_end_with_the_last_row() {
        let config = FoldConfig { folds: 3, ..FoldConfig::default() };
        assert_eq!(config.cutoffs(100, 12, 1).unwrap(), [64, 76, 88]);
        let config = FoldConfig { step: Some(1), gap: 2, ..config };
        assert_eq!(config.cutoffs(100, 12, 1).unwrap(), [84, 85, 86]);
        assert_eq!([0, 11].map(|step| config.row(86, step, 1)), [88, 99]);
        let strided = FoldConfig { folds: 2, ..FoldConfig::default() };
        assert_eq!(strided.cutoffs(100, 3, 4).unwrap(), [76, 88]);
        assert_eq!([0, 2].map(|step| strided.row(88, step, 4)), [91, 99]);
    }

    #[test]
    fn cutoffs_of_too_few_rows_are_an_error_with_the_numbers() {
        let config = FoldConfig { folds: 5, ..FoldConfig::default() };
        let error = config.cutoffs(60, 12, 1).unwrap_err().to_string();
        for part in ["5 folds", "found 60 rows", "at least 61", "12 rows from one to the next"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(config.cutoffs(61, 12, 1).is_ok());
        for (folds, step, part) in [(0, None, "--folds is 0"), (2, Some(0), "--step is 0")] {
            let config = FoldConfig { folds, step, ..FoldConfig::default() };
            assert!(config.cutoffs(100, 12, 1).unwrap_err().to_string().contains(part));
        }
        let huge = FoldConfig { step: Some(usize::MAX), gap: usize::MAX, ..FoldConfig::default() };
        assert!(huge.cutoffs(100, usize::MAX, usize::MAX).is_err());
    }
}
