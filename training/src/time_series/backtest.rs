//! Forecasts from several cutoffs of a series, with the actual values.

use std::ops::Range;

use anyhow::Result;
use tch::Tensor;
use text_recognizer::lit_models::MetricName;

use super::forecast::mean_of_columns;
use super::{Fill, FoldConfig, Forecaster, Intervals, Level, MaseScales, Predicted, Series};

/// The forecasts of one model from several cutoffs.
#[derive(Debug)]
pub struct Backtest {
    /// The folds, in the order of their cutoffs.
    pub folds: Vec<Fold>,
}

/// The forecast from one cutoff.
#[derive(Debug)]
pub struct Fold {
    /// The number of rows before the cutoff.
    pub cutoff: usize,
    /// The rows that are forecast, one per time step.
    pub rows: Vec<usize>,
    /// The forecast, `[horizon, columns]`.
    pub made: Tensor,
    /// The actual values, `[horizon, columns]`; NaN for a missing one.
    pub actual: Tensor,
    /// The intervals: for each level the lower and the upper ends, `[horizon, columns]`.
    pub ends: Vec<(Level, [Tensor; 2])>,
    /// Half of the size of the intervals of level 50, `[horizon, columns]`: without quantiles the median absolute error of earlier
    /// forecasts; `None` if it is unknown.
    pub spread: Option<Tensor>,
}

/// The series and the shape of the forecasts of a backtest.
#[derive(Debug, Clone, Copy)]
pub struct Origins<'a> {
    /// The whole series.
    pub series: &'a Series,
    /// The folds.
    pub folds: &'a FoldConfig,
    /// The time steps of a forecast.
    pub horizon: usize,
    /// The levels of the intervals.
    pub levels: &'a [Level],
    /// Whether each level must be possible; else those without enough errors are left out.
    pub strict: bool,
}

impl Origins<'_> {
    /// Forecasts from the rows before `cutoff`, with missing values that are filled from these rows only. `intervals` are those of a
    /// trained model; a model without training has those of its own earlier errors.
    ///
    /// # Errors
    /// Fails if there are too few rows, or too few earlier errors for a level.
    pub fn fold(
        &self,
        forecaster: &dyn Forecaster,
        cutoff: usize,
        (fill, season): (Fill, Option<usize>),
        intervals: Option<&Intervals>,
    ) -> Result<Fold> {
        let Self { series, folds, horizon, levels, strict } = *self;
        let mut before = series.head(cutoff)?;
        before.fill(fill, season.or(series.season), &[])?;
        let steps = folds.gap + horizon;
        let made = forecaster.forecast_future(&before, steps)?;
        let predicted =
            Predicted::new(forecaster.quantiles(), &made)?.narrow(folds.gap as i64, horizon as i64)?;
        let rows: Vec<usize> =
            (0..horizon).map(|step| folds.row(cutoff, step, forecaster.stride())).collect();
        let at: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let actual = series.values.f_index_select(0, &Tensor::f_from_slice(&at)?)?;
        let own = match forecaster.rolling_intervals(&before, steps) {
            _ if levels.is_empty() => None,
            // The rows may be too few for intervals, but enough for a forecast.
            Err(_) if !strict => None,
            own => own?,
        };
        let intervals = own.as_ref().or(intervals);
        let spread =
            intervals.map(|intervals| intervals.spread(&predicted, folds.gap)).transpose()?.flatten();
        let ends = match intervals {
            Some(intervals) => {
                if strict {
                    intervals.check(levels, steps)?;
                }
                let possible = levels.iter().filter(|level| intervals.check(&[**level], steps).is_ok());
                let ends = |&level: &Level| Ok((level, intervals.ends_from(&predicted, folds.gap, level)?));
                possible.map(ends).collect::<Result<_>>()?
            }
            None => Vec::new(),
        };
        Ok(Fold { cutoff, rows, made: predicted.made, actual, ends, spread })
    }
}

impl Backtest {
    /// Creates a backtest. It keeps the intervals of the levels that all folds have.
    pub fn new(mut folds: Vec<Fold>) -> Self {
        let in_all = |level: &Level| folds.iter().all(|fold| fold.ends.iter().any(|(of, _)| of == level));
        let levels = folds.first().map_or(&[][..], |fold| &fold.ends).iter().map(|(level, _)| *level);
        let kept: Vec<Level> = levels.filter(in_all).collect();
        folds.iter_mut().for_each(|fold| fold.ends.retain(|(level, _)| kept.contains(level)));
        Self { folds }
    }

    /// Returns the levels of the intervals.
    pub fn levels(&self) -> impl Iterator<Item = Level> {
        self.folds.first().map_or(&[][..], |fold| &fold.ends).iter().map(|(level, _)| *level)
    }

    /// Returns the time steps of a forecast.
    fn horizon(&self) -> usize {
        self.folds.first().map_or(0, |fold| fold.rows.len())
    }

    /// Returns a metric over these folds and time steps: the mean over the columns that have it; `None` if none has.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn metric(
        &self,
        metric: MetricName,
        folds: Range<usize>,
        steps: Range<usize>,
    ) -> Result<Option<f64>> {
        let narrow = |values: &Tensor| values.f_narrow(0, steps.start as i64, steps.len() as i64);
        let pairs = self.folds[folds].iter().map(|fold| Ok((narrow(&fold.made)?, narrow(&fold.actual)?)));
        mean_of_columns(metric, &pairs.collect::<Result<Vec<_>>>()?)
    }

    /// Returns a metric over all folds and time steps.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn overall(&self, metric: MetricName) -> Result<Option<f64>> {
        self.metric(metric, 0..self.folds.len(), 0..self.horizon())
    }

    /// Returns the MASE of each fold: its mean absolute error over that of the seasonal naive forecast of the rows before its cutoff,
    /// as the mean over the columns; NaN if no column has one.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn mase(&self, series: &Series, season: Option<usize>) -> Result<Vec<f64>> {
        let of_fold = |fold: &Fold| -> Result<f64> {
            let errors = fold.made.f_sub(&fold.actual)?.f_abs()?;
            let maes = Vec::<f64>::try_from(errors.f_nanmean(0, false, tch::Kind::Double)?)?;
            let scaled = MaseScales::new(series, fold.cutoff, season)?.scaled(&maes);
            Ok(mean(scaled.into_iter().filter(|mase| !mase.is_nan())))
        };
        self.folds.iter().map(of_fold).collect()
    }

    /// Removes the forecasts of the values that `other` does not forecast, so that the errors of both are over the same values.
    ///
    /// # Errors
    /// Fails if `other` has other folds.
    pub fn only_where(&mut self, other: &Self) -> Result<()> {
        for (fold, other) in self.folds.iter_mut().zip(&other.folds) {
            fold.made = fold.made.f_where_scalarother(&other.made.f_isfinite()?, f64::NAN)?;
        }
        Ok(())
    }
}

/// Returns the mean of values; NaN if there is none.
pub fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    values.clone().sum::<f64>() / values.count() as f64
}
