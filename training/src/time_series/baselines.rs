//! Baselines: forecasts without training. A useful model has a smaller error than each of them.

use std::borrow::Cow;

use crate::flags::default_flags;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use text_recognizer::{Error, Result};

use super::Series;
use super::fill::{forward, seasonal};

/// A rule that forecasts a value from earlier values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Baseline {
    /// The last value.
    Naive,
    /// The mean of the last values (--average).
    MovingAverage,
    /// The value one season ago.
    SeasonalNaive,
    /// The mean of the values around one season ago, plus the mean of the latest seasonal differences.
    Differencing,
}

impl Baseline {
    /// All baselines.
    pub const ALL: [Self; 4] = [Self::Naive, Self::MovingAverage, Self::SeasonalNaive, Self::Differencing];

    /// Returns the name, as in `--model NAME`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::MovingAverage => "moving_average",
            Self::SeasonalNaive => "seasonal_naive",
            Self::Differencing => "differencing",
        }
    }
}

/// The numbers of rows that baselines use. The defaults are those of the TensorFlow time-series course.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BaselineConfig {
    /// Set the rows per season [default: --period, or by the interval of the timestamps: month 12, quarter 4, week 52, day 7, hour 24].
    #[arg(long = "season")]
    pub season: Option<usize>,
    /// Average this many values in moving_average.
    #[arg(long = "average", default_value_t = 20)]
    pub average: usize,
    /// Average this many seasonal differences in differencing.
    #[arg(long = "difference_average", default_value_t = 50)]
    pub difference_average: usize,
    /// Average this many values around one season ago in differencing; 1 for no averaging.
    #[arg(long = "past_average", default_value_t = 10)]
    pub past_average: usize,
}

impl Default for BaselineConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl BaselineConfig {
    /// The flags that a resumed run may change. The season decides windows and filled values of a network too.
    pub const FREE: &[&str] = &["average", "difference_average", "past_average"];

    /// Checks the numbers of rows, also those that a baseline does not use.
    ///
    /// # Errors
    /// Fails if a number is 0.
    pub fn validate(&self) -> Result<()> {
        let Self { season, average, difference_average, past_average } = *self;
        let lengths = [
            ("season", season.unwrap_or(1)),
            ("average", average),
            ("difference_average", difference_average),
            ("past_average", past_average),
        ];
        match lengths.into_iter().find(|(_, length)| *length == 0) {
            Some((name, length)) => Err(Error::invalid(name, length, "at least 1")),
            None => Ok(()),
        }
    }

    /// Returns the configuration with the season of `series`, if it has no season.
    pub fn of(self, series: &Series) -> Self {
        Self { season: self.season.or(series.season), ..self }
    }
}

impl Baseline {
    /// Prepares forecasts from the values of `series`, `[rows]`.
    ///
    /// # Errors
    /// Fails if a length is 0, or if the season is needed and unknown.
    pub fn from_past<'a>(self, config: &BaselineConfig, series: &'a [f64]) -> Result<Past<'a>> {
        config.validate()?;
        let season = match (self, config.season) {
            // These baselines have no season, so that any length is correct.
            (Self::Naive | Self::MovingAverage, None) => 1,
            (_, Some(season)) => season,
            (Self::SeasonalNaive | Self::Differencing, None) => {
                let expected = "a number of rows, which the timestamps do not determine; try --season ROWS";
                return Err(Error::invalid("season", "unknown", expected));
            }
        };
        let BaselineConfig { average, difference_average, past_average, .. } = *config;
        let rule = match self {
            Self::Naive => Rule::Naive(Filled::new(series, forward)),
            Self::MovingAverage => Rule::MovingAverage { values: Sums::of(series.iter().copied()), average },
            Self::SeasonalNaive => {
                Rule::SeasonalNaive { values: Filled::new(series, |values| seasonal(values, season)), season }
            }
            Self::Differencing => Rule::Differencing {
                values: Sums::of(series.iter().copied()),
                differences: Sums::of((season..series.len()).map(|t| series[t] - series[t - season])),
                season,
                difference_average,
                past_average,
            },
        };
        Ok(Past { baseline: self, rows: series.len(), rule })
    }

    /// Forecasts `series[from..to]`, each row `t` from the values before row `t - gap` only. A `gap` of 0 is one step ahead.
    ///
    /// # Errors
    /// Fails like [`Baseline::from_past`], and if there are too few values before `from`.
    pub fn forecast(
        self,
        config: &BaselineConfig,
        series: &[f64],
        from: usize,
        to: usize,
        gap: usize,
    ) -> Result<Vec<f64>> {
        self.from_past(config, series)?.forecast(from, to, gap)
    }
}

/// The values that a baseline forecasts from.
pub struct Past<'a> {
    baseline: Baseline,
    /// The number of rows.
    rows: usize,
    rule: Rule<'a>,
}

/// A baseline, with the values in the form that it needs.
enum Rule<'a> {
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

impl Past<'_> {
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
        let needed = match &self.rule {
            Rule::Naive(_) => gap.saturating_add(1),
            Rule::MovingAverage { average, .. } => gap.saturating_add(*average),
            Rule::SeasonalNaive { season, .. } => ago(*season),
            Rule::Differencing { season, difference_average, past_average, .. } => {
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
            .map(|t| match &self.rule {
                Rule::Naive(values) => values.at(t - gap - 1),
                Rule::MovingAverage { values, average } => values.mean(t - gap - average, t - gap),
                Rule::SeasonalNaive { values, season } => values.at(t - ago(*season)),
                Rule::Differencing { values, differences, season, difference_average, past_average } => {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time_series::{SyntheticConfig, synthetic};

    /// The expected MAEs are those of the course's own code on the same 461 rows.
    #[test]
    fn mae_of_each_baseline_equals_that_of_the_course() {
        let series = synthetic(&SyntheticConfig::default()).unwrap().column(0).unwrap();
        let c = || BaselineConfig { season: Some(365), ..BaselineConfig::default() };
        let cases = [
            (Baseline::Naive, c(), 5.938),
            (Baseline::MovingAverage, c(), 6.031),
            (Baseline::MovingAverage, BaselineConfig { average: 30, ..c() }, 7.142),
            (Baseline::Differencing, c(), 4.569),
            (Baseline::Differencing, BaselineConfig { past_average: 1, ..c() }, 5.839),
        ];
        for (baseline, config, expected) in cases {
            let forecast = baseline.forecast(&config, &series, 1000, 1461, 0).unwrap();
            let mae = forecast.iter().zip(&series[1000..]).map(|(f, y)| (f - y).abs()).sum::<f64>() / 461.0;
            assert!((mae - expected).abs() < 6e-4, "{baseline:?} {config:?}: {mae} is not {expected}");
        }
    }

    #[test]
    fn forecast_with_gap_depends_on_no_later_value() {
        let config = BaselineConfig { season: Some(6), average: 3, difference_average: 4, past_average: 5 };
        let series: Vec<f64> = (0..40).map(|t| f64::from(t * t % 17)).collect();
        for gap in 0..9 {
            let mut unknown = series.clone();
            unknown[30 - gap..].iter_mut().for_each(|value| *value += 100.0);
            let mut latest = series.clone();
            latest[29 - gap] += 100.0;
            for baseline in Baseline::ALL {
                let first = |series: &[f64]| baseline.forecast(&config, series, 30, 40, gap).unwrap()[0];
                assert_eq!(first(&series), first(&unknown), "{baseline:?}, gap {gap}");
                if baseline != Baseline::SeasonalNaive {
                    assert_ne!(
                        first(&series),
                        first(&latest),
                        "{baseline:?}, gap {gap}: expected the latest value to have an effect"
                    );
                }
            }
        }
    }

    #[test]
    fn forecast_of_a_series_with_gaps_uses_the_values_that_are_there() {
        let config = BaselineConfig { season: Some(3), average: 3, difference_average: 3, past_average: 1 };
        let gap = f64::NAN;
        let series = [1.0, 2.0, 3.0, 4.0, gap, 6.0, gap, 8.0, gap, gap];
        let of = |baseline: Baseline, from| baseline.forecast(&config, &series, from, 10, 0).unwrap();
        assert_eq!(of(Baseline::Naive, 7), [6.0, 8.0, 8.0]);
        assert_eq!(of(Baseline::SeasonalNaive, 7), [2.0, 6.0, 4.0]);
        assert_eq!(of(Baseline::MovingAverage, 7), [6.0, 7.0, 8.0]);
        // Row 7: the value 4 rows ago is missing, and the mean of the differences at rows 5 and 6 is that of row 5.
        let differencing = of(Baseline::Differencing, 7);
        assert!(differencing[0].is_nan() && differencing[1] == 6.0 + 3.0, "{differencing:?}");
    }

    #[test]
    fn forecast_with_short_past_or_unknown_season_is_an_error() {
        let series = vec![1.0; 100];
        let errors = |season| {
            let config = BaselineConfig { season, ..BaselineConfig::default() };
            let both = [Baseline::SeasonalNaive, Baseline::Differencing];
            both.map(|baseline| baseline.forecast(&config, &series, 50, 100, 0).unwrap_err().to_string())
        };
        for (season, expected) in
            [(Some(365), " is 50: "), (Some(usize::MAX), " is 50: "), (None, "season is unknown")]
        {
            for error in errors(season) {
                assert!(error.contains(expected), "{season:?}: {error}");
            }
        }
    }
}
