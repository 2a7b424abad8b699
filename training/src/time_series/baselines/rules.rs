//! Rules that forecast a value from earlier values, without parameters.

use std::borrow::Cow;

use text_recognizer::{Error, Result};

use super::{Baseline, BaselineConfig};
use crate::time_series::fill::{forward, seasonal};

/// A rule with the values that it forecasts from.
pub struct Rule<'a> {
    baseline: Baseline,
    /// The number of rows.
    rows: usize,
    form: Form<'a>,
}

/// The values in the form that a rule needs.
enum Form<'a> {
    Naive(Filled<'a>),
    MovingAverage {
        values: Sums,
        average: usize,
    },
    SeasonalNaive {
        values: Filled<'a>,
        season: usize,
    },
    Differencing {
        values: Sums,
        /// The sums of the differences to the values one season before.
        differences: Sums,
        season: usize,
        difference_average: usize,
        past_average: usize,
    },
}

impl<'a> Rule<'a> {
    /// Prepares forecasts of the last value of `series`.
    pub fn naive(series: &'a [f64]) -> Self {
        Self::new(Baseline::Naive, series, Form::Naive(Filled::new(series, forward)))
    }

    /// Prepares forecasts of the mean of the last values of `series`.
    pub fn moving_average(series: &'a [f64], config: &BaselineConfig) -> Self {
        let values = Sums::of(series.iter().copied());
        Self::new(Baseline::MovingAverage, series, Form::MovingAverage { values, average: config.average })
    }

    /// Prepares forecasts of the value of `series` that is `season` rows ago.
    pub fn seasonal_naive(series: &'a [f64], season: usize) -> Self {
        let values = Filled::new(series, |values| seasonal(values, season));
        Self::new(Baseline::SeasonalNaive, series, Form::SeasonalNaive { values, season })
    }

    /// Prepares forecasts of the values of `series` around `season` rows ago, plus the latest seasonal differences.
    pub fn differencing(series: &'a [f64], season: usize, config: &BaselineConfig) -> Self {
        let form = Form::Differencing {
            values: Sums::of(series.iter().copied()),
            differences: Sums::of((season..series.len()).map(|t| series[t] - series[t - season])),
            season,
            difference_average: config.difference_average,
            past_average: config.past_average,
        };
        Self::new(Baseline::Differencing, series, form)
    }

    const fn new(baseline: Baseline, series: &[f64], form: Form<'a>) -> Self {
        Self { baseline, rows: series.len(), form }
    }

    /// Returns the number of rows of the series.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Forecasts the rows `from..to`, each row `t` from the values before row `t - gap` only. The rows may lie up to `gap + 1`
    /// rows after the last row of the series.
    ///
    /// Missing values (NaN) are left out of means. In their place, the other baselines use the last value before, or that of the
    /// season before. A forecast without any value is NaN.
    ///
    /// # Errors
    /// Fails if there are too few values before `from`, or if `to` is too far after the end of the series.
    pub fn forecast(&self, from: usize, to: usize, gap: usize) -> Result<Vec<f64>> {
        // The smallest whole number of seasons back to a known value, in rows.
        let ago = |season: usize| season.saturating_mul(gap / season + 1);
        let needed = match &self.form {
            Form::Naive(_) => gap.saturating_add(1),
            Form::MovingAverage { average, .. } => gap.saturating_add(*average),
            Form::SeasonalNaive { season, .. } => ago(*season),
            Form::Differencing { season, difference_average, past_average, .. } => {
                let differences = gap.saturating_add(*season).saturating_add(*difference_average);
                differences.max(ago(*season).saturating_add(past_average / 2))
            }
        };
        if from < needed || to.saturating_sub(gap).saturating_sub(1) > self.rows {
            return Err(Error::invalid(
                format!("the number of values for {}", self.baseline.name()),
                from.min(self.rows),
                format!("at least {needed} values before the first forecast"),
            ));
        }
        Ok((from..to)
            .map(|t| match &self.form {
                Form::Naive(values) => values.at(t - gap - 1),
                Form::MovingAverage { values, average } => values.mean(t - gap - average, t - gap),
                Form::SeasonalNaive { values, season } => values.at(t - ago(*season)),
                Form::Differencing { values, differences, season, difference_average, past_average } => {
                    // The window around one season ago starts past_average / 2 rows earlier, and ends before the first unknown row.
                    let (ago, back) = (ago(*season), past_average / 2);
                    let ahead = (past_average - back).min(ago - gap);
                    let known = t - gap - season;
                    differences.mean(known - difference_average, known)
                        + values.mean(t - ago - back, t - ago + ahead)
                }
            })
            .collect())
    }
}

/// Values whose gaps are filled from earlier values.
struct Filled<'a>(Cow<'a, [f64]>);

impl<'a> Filled<'a> {
    fn new(values: &'a [f64], fill: impl Fn(&mut [f64])) -> Self {
        let mut values = Cow::Borrowed(values);
        if values.iter().any(|value| value.is_nan()) {
            fill(values.to_mut());
        }
        Self(values)
    }

    fn at(&self, row: usize) -> f64 {
        self.0[row]
    }
}

/// Cumulative sums of the values that are not missing, so that the mean of any range takes constant time.
struct Sums {
    sums: Vec<f64>,
    /// The cumulative number of values; `None` if no value is missing.
    counts: Option<Vec<usize>>,
}

impl Sums {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let mut sum = 0.0;
        let rest = values.clone().map(|value| {
            sum += if value.is_nan() { 0.0 } else { value };
            sum
        });
        let sums = std::iter::once(0.0).chain(rest).collect();
        let counts = values.clone().any(f64::is_nan).then(|| {
            let mut count = 0;
            let rest = values.map(|value| {
                count += usize::from(!value.is_nan());
                count
            });
            std::iter::once(0).chain(rest).collect()
        });
        Self { sums, counts }
    }

    /// Returns the mean of the values `from..to`; NaN if all are missing.
    fn mean(&self, from: usize, to: usize) -> f64 {
        let count = self.counts.as_ref().map_or(to - from, |counts| counts[to] - counts[from]);
        (self.sums[to] - self.sums[from]) / count as f64
    }
}
