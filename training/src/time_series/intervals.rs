//! Prediction intervals from the errors of earlier forecasts.
//!
//! This is split conformal prediction (Vovk et al., "Algorithmic Learning in a Random World", 2005; Lei et al.,
//! "Distribution-Free Predictive Inference for Regression", 2018): an interval with the level 80 is the forecast plus and minus the
//! size that 80 % of the absolute errors of earlier forecasts, of as many steps ahead, do not exceed.
//!
//! For a model with quantiles this is conformalized quantile regression (Romano, Patterson and Candès, "Conformalized Quantile
//! Regression", 2019): the interval is the central pair of quantiles whose level is nearest, and its size is the one that 80 % of
//! `max(low - y, y - high)` do not exceed. The size is below 0 if the pair is too wide. An interval always contains the forecast.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::Tensor;

use super::{Level, Predicted, Quantiles};

/// The sizes of the intervals of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// For each step ahead and each column.
    steps: Vec<Vec<Sizes>>,
}

/// The sizes of the intervals of one step ahead of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sizes {
    /// The number of errors that they are from.
    errors: usize,
    /// For each level from 1 on the distance of the ends of the interval from the forecast, or from the pair of quantiles. Levels that
    /// need more errors are left out.
    halves: Vec<f64>,
}

impl Sizes {
    /// Returns the sizes of the errors that `errors` has for each level. All levels have as many errors.
    fn of<'a>(errors: impl Fn(Level) -> &'a [f64]) -> Self {
        let half = |level: Level| {
            let sorted = errors(level);
            level.rank(sorted.len()).and_then(|rank| sorted.get(rank.checked_sub(1)?).copied())
        };
        Self { halves: Level::all().map_while(half).collect(), errors: errors(Level::HALF).len() }
    }
}

impl Intervals {
    /// The most steps ahead times columns, which bounds the size of a checkpoint.
    const MOST: usize = 10_000;

    /// Returns the intervals from the errors of forecasts, one per step ahead, and the actual values, `[rows, columns]`. Returns
    /// `None` if there are too many steps and columns.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn of(forecasts: &[Predicted], actual: &Tensor) -> Result<Option<Self>> {
        let columns = actual.size()[1] as usize;
        if forecasts.len() * columns > Self::MOST {
            return Ok(None);
        }
        let of_step = |step: &Predicted| -> Result<Vec<Sizes>> {
            let sorted = |pair: Option<usize>| -> Result<Vec<Vec<f64>>> {
                let [low, high] = step.pair(pair);
                let errors = low.f_sub(actual)?.f_maximum(&actual.f_sub(high)?)?;
                let column = |at| -> Result<Vec<f64>> {
                    let mut errors = Vec::try_from(errors.f_select(1, at as i64)?.f_contiguous()?)?;
                    errors.retain(|error: &f64| error.is_finite());
                    errors.sort_unstable_by(f64::total_cmp);
                    Ok(errors)
                };
                (0..columns).map(column).collect()
            };
            let mut of_pairs = BTreeMap::new();
            for level in Level::all() {
                let pair = step.nearest(level);
                if let Entry::Vacant(vacant) = of_pairs.entry(pair) {
                    vacant.insert(sorted(pair)?);
                }
            }
            Ok((0..columns).map(|at| Sizes::of(|level| &of_pairs[&step.nearest(level)][at][..])).collect())
        };
        let steps = forecasts.iter().map(of_step).collect::<Result<_>>()?;
        Ok(Some(Self { steps }))
    }

    /// Returns whether a checkpoint of a model with or without quantiles has sizes for this many steps ahead and columns, all finite.
    pub fn is_valid(&self, horizon: usize, columns: usize, quantiles: Option<&Quantiles>) -> bool {
        let least = if quantiles.is_some() { f64::MIN } else { 0.0 };
        let finite = |sizes: &Sizes| sizes.halves.iter().all(|half| half.is_finite() && *half >= least);
        self.steps.len() == horizon
            && self.steps.iter().all(|step| step.len() == columns && step.iter().all(finite))
    }

    /// Returns the size of the interval of a step ahead, from 0, of a column, as in [`Sizes`]; `None` if there are too few errors.
    fn half(&self, step: usize, column: usize, level: Level) -> Option<f64> {
        let sizes = self.steps.get(step)?.get(column)?;
        sizes.halves.get(level.percent() - 1).copied()
    }

    /// Checks that there are intervals of these levels for the first `steps` steps ahead of all columns.
    ///
    /// # Errors
    /// Fails with the numbers if there are too few steps or errors.
    pub fn check(&self, levels: &[Level], steps: usize) -> Result<()> {
        ensure!(
            levels.is_empty() || steps <= self.steps.len(),
            "cannot make intervals of {steps} steps: found errors of earlier forecasts of {} steps, expected as many steps; try \
             fewer --steps, or a model with a longer --horizon",
            self.steps.len()
        );
        for (sizes, step) in self.steps.iter().take(steps).zip(1..) {
            for level in levels {
                let short = sizes.iter().find(|sizes| sizes.halves.len() < level.percent());
                if let Some(sizes) = short {
                    let (found, needed) = (sizes.errors, level.needed());
                    bail!(
                        "cannot make an interval of level {level} for step {step}: found {found} errors of earlier forecasts, \
                         expected at least {needed}; try a lower --level, or more rows in the validation split"
                    );
                }
            }
        }
        Ok(())
    }

    /// Returns the levels, of `levels`, that all steps ahead and columns have.
    pub fn possible(&self, levels: &[Level]) -> Vec<Level> {
        levels.iter().copied().filter(|level| self.check(&[*level], self.steps.len()).is_ok()).collect()
    }

    /// Returns the lower and the upper end of the intervals of a forecast `step` steps ahead, from 0: `[rows, columns]`.
    ///
    /// # Errors
    /// Fails if libtorch does. A column without an interval has NaN.
    pub fn ends(&self, predicted: &Predicted, step: usize, level: Level) -> Result<[Tensor; 2]> {
        let made = &predicted.made;
        let columns = made.size()[1] as usize;
        let halves: Vec<f64> =
            (0..columns).map(|column| self.half(step, column, level).unwrap_or(f64::NAN)).collect();
        let halves = Tensor::f_from_slice(&halves)?;
        let [low, high] = predicted.pair(predicted.nearest(level));
        // A pair that is made narrower could cross.
        Ok([low.f_sub(&halves)?.f_minimum(made)?, high.f_add(&halves)?.f_maximum(made)?])
    }

    /// Returns half of the size of the intervals of level 50 of a forecast whose rows are the time steps from `first` on,
    /// `[steps, columns]`: without quantiles this is the median absolute error of earlier forecasts. `None` if a step has no errors.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn spread(&self, predicted: &Predicted, first: usize) -> Result<Option<Tensor>> {
        let [low, high] = self.ends_from(predicted, first, Level::HALF)?;
        let missing = low.f_isnan()?.f_any()?.f_int64_value(&[])? != 0;
        if missing { Ok(None) } else { Ok(Some(high.f_sub(&low)?.f_mul_scalar(0.5)?)) }
    }

    /// Returns the lower and the upper end of the intervals of a forecast whose rows are the time steps from `first` on, from 0:
    /// `[steps, columns]`.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn ends_from(&self, predicted: &Predicted, first: usize, level: Level) -> Result<[Tensor; 2]> {
        let rows = (0..predicted.made.size()[0]).map(|row| {
            let [low, high] = self.ends(&predicted.narrow(row, 1)?, first + row as usize, level)?;
            Ok((low, high))
        });
        let (low, high): (Vec<_>, Vec<_>) = rows.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        Ok([Tensor::f_cat(&low, 0)?, Tensor::f_cat(&high, 0)?])
    }

    /// Counts the actual values of forecasts, as in [`Intervals::of`]: those within their interval, and all that have one.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn coverage(&self, forecasts: &[Predicted], actual: &Tensor, level: Level) -> Result<Coverage> {
        let mut coverage = Coverage { level, within: 0, all: 0 };
        for (at, step) in forecasts.iter().enumerate() {
            coverage.add(actual, &self.ends(step, at, level)?)?;
        }
        Ok(coverage)
    }
}

/// The number of actual values within intervals of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    /// The level of the intervals.
    pub level: Level,
    /// The values within their interval.
    pub within: usize,
    /// All values that have an interval.
    pub all: usize,
}

impl Coverage {
    /// Counts the actual values within the lower and upper ends of their intervals, all of the same shape. A value or an interval that
    /// is NaN is not counted.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn add(&mut self, actual: &Tensor, [low, high]: &[Tensor; 2]) -> Result<()> {
        let count = |mask: Tensor| -> Result<usize> {
            Ok(mask.f_sum(tch::Kind::Int64)?.f_int64_value(&[])? as usize)
        };
        // Comparisons with NaN are false.
        let within = actual.f_ge_tensor(low)?.f_logical_and(&actual.f_le_tensor(high)?)?;
        self.within += count(within)?;
        self.all += count(actual.f_sub(low)?.f_isfinite()?)?;
        Ok(())
    }

    /// Returns the counts and their share as JSON.
    pub fn json(&self) -> Value {
        json!({"level": self.level, "percent": self.percent(), "within": self.within, "values": self.all})
    }

    /// Returns the share of values within their interval, in percent; NaN without values.
    pub fn percent(&self) -> f64 {
        100.0 * self.within as f64 / self.all as f64
    }
}

#[cfg(test)]
mod tests {
    use text_recognizer::rng::Mt19937;

    use super::*;

    fn rows(values: &[f64]) -> Tensor {
        Tensor::from_slice(values).view([-1, 1])
    }

    fn level(percent: u8) -> Level {
        percent.try_into().unwrap()
    }

    #[test]
    fn half_of_a_level_is_the_error_of_its_rank() {
        let errors: Vec<f64> =
            (1..=19).map(|at| if at % 2 == 0 { f64::from(at) } else { -f64::from(at) }).collect();
        let intervals = Intervals::of(&[rows(&errors).into()], &rows(&[0.0; 19])).unwrap().unwrap();
        // Ranks of 20: 16 for 80 %, and 19 for 95 %.
        for (percent, expected) in [(80, Some(16.0)), (95, Some(19.0)), (50, Some(10.0)), (96, None)] {
            assert_eq!(intervals.half(0, 0, level(percent)), expected, "{percent}");
        }
        let ends = intervals.ends(&rows(&[100.0]).into(), 0, level(80)).unwrap();
        assert_eq!(ends.map(|end| end.double_value(&[0, 0])), [84.0, 116.0]);
        let ends = intervals.ends_from(&rows(&[100.0]).into(), 0, level(95)).unwrap();
        assert_eq!(ends.map(|end| end.double_value(&[0, 0])), [81.0, 119.0]);
        let json = serde_json::to_string(&intervals).unwrap();
        assert_eq!(serde_json::from_str::<Intervals>(&json).unwrap(), intervals);
        assert!(
            intervals.is_valid(1, 1, None)
                && !intervals.is_valid(2, 1, None)
                && !intervals.is_valid(1, 2, None)
        );
    }

    #[test]
    fn check_without_enough_errors_or_steps_is_an_error_with_the_numbers() {
        let of = |errors: usize| {
            Intervals::of(&[rows(&vec![1.0; errors]).into()], &rows(&vec![0.0; errors])).unwrap().unwrap()
        };
        for (percent, needed) in [(80, 4), (95, 19), (99, 99), (50, 1)] {
            assert_eq!(level(percent).needed(), needed);
            of(needed).check(&[level(percent)], 1).unwrap();
            let error = of(needed - 1).check(&[level(percent)], 1).unwrap_err().to_string();
            assert!(error.contains(&format!("found {} errors", needed - 1)), "{error}");
            assert!(error.contains(&format!("at least {needed}")), "{error}");
        }
        let error = of(9).check(&[level(80)], 3).unwrap_err().to_string();
        assert!(error.contains("intervals of 3 steps") && error.contains("of 1 step"), "{error}");
        assert_eq!(of(9).possible(&[level(80), level(95)]), [level(80)]);
    }

    #[test]
    fn coverage_of_new_errors_of_the_same_kind_is_near_the_level() {
        let mut noise = Mt19937::new(7);
        let mut draw = |rows: usize| -> Vec<f64> { (0..rows).map(|_| noise.randn()).collect() };
        let (earlier, later) = (draw(400), draw(4000));
        let zeros = |rows: usize| self::rows(&vec![0.0; rows]);
        let intervals = Intervals::of(&[rows(&earlier).into()], &zeros(400)).unwrap().unwrap();
        for percent in [50, 80, 95] {
            let found = intervals.coverage(&[rows(&later).into()], &zeros(4000), level(percent)).unwrap();
            let off = found.percent() - f64::from(percent);
            assert!(found.all == 4000 && off.abs() < 5.0, "{found:?}");
        }
    }

    /// The quantiles are 2 below and above the forecast, which is too much for half of the values and too little for none.
    #[test]
    fn intervals_of_quantiles_are_their_pair_with_a_signed_size() {
        let quantiles: Quantiles = vec![0.1, 0.5, 0.9].try_into().unwrap();
        let made = |values: &[f64]| {
            let rows: Vec<f64> = values.iter().flat_map(|value| [value - 2.0, *value, value + 2.0]).collect();
            Predicted::new(Some(&quantiles), &Tensor::from_slice(&rows).view([-1, 3])).unwrap()
        };
        let errors: Vec<f64> = (1..=9).map(|at| f64::from(at) / 10.0).collect();
        let intervals = Intervals::of(&[made(&[0.0; 9])], &rows(&errors)).unwrap().unwrap();
        // The error of rank 8 is 0.8, which is 1.2 within the pair.
        let ends = |level| intervals.ends(&made(&[10.0]), 0, level).unwrap();
        let [low, high] = ends(level(80)).map(|end| end.double_value(&[0, 0]));
        assert!((low - 9.2).abs() < 1e-12 && (high - 10.8).abs() < 1e-12, "{low} {high}");
        assert!(intervals.is_valid(1, 1, Some(&quantiles)) && !intervals.is_valid(1, 1, None));
        let narrow = Intervals { steps: vec![vec![Sizes { errors: 9, halves: vec![-5.0; 80] }]] };
        let ends = narrow.ends(&made(&[10.0]), 0, level(80)).unwrap();
        assert_eq!(ends.map(|end| end.double_value(&[0, 0])), [10.0, 10.0]);
    }

    #[test]
    fn missing_values_are_neither_errors_nor_covered() {
        let made = rows(&[1.0, f64::NAN, 3.0, 4.0, 5.0]);
        let actual = rows(&[2.0, 2.0, f64::NAN, 4.0, 5.0]);
        let intervals = Intervals::of(&[made.shallow_clone().into()], &actual).unwrap().unwrap();
        assert_eq!(intervals.steps[0][0].errors, 3);
        let found = intervals.coverage(&[made.into()], &actual, level(50)).unwrap();
        assert_eq!((found.within, found.all), (2, 3));
    }
}
