//! Baselines: forecasts without training. A useful model has a smaller error than each of them.

use crate::flags::default_flags;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use text_recognizer::{Error, Result};

use super::Series;

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
    /// The flags that a resumed run may change.
    pub const FREE: &[&str] = &["season", "average", "difference_average", "past_average"];

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
        let differences: Vec<f64> = (season..series.len()).map(|t| series[t] - series[t - season]).collect();
        Ok(Past {
            baseline: self,
            season,
            average,
            difference_average,
            past_average,
            series,
            values: Sums::of(series),
            differences: Sums::of(&differences),
        })
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
    season: usize,
    average: usize,
    difference_average: usize,
    past_average: usize,
    series: &'a [f64],
    values: Sums,
    /// The sums of the differences to the values one season before.
    differences: Sums,
}

impl Past<'_> {
    /// Forecasts the rows `from..to`, each row `t` from the values before row `t - gap` only. The rows may lie up to `gap + 1`
    /// rows after the last row of the series.
    ///
    /// # Errors
    /// Fails if there are too few values before `from`, or if `to` is too far after the end of the series.
    pub fn forecast(&self, from: usize, to: usize, gap: usize) -> Result<Vec<f64>> {
        // The window around one season ago starts past_average / 2 rows earlier, and ends before the first unknown row.
        let back = self.past_average / 2;
        // The smallest whole number of seasons back to a known value, in rows.
        let ago = self.season.saturating_mul(gap / self.season + 1);
        let ahead = (self.past_average - back).min(ago - gap);
        let needed = match self.baseline {
            Baseline::Naive => gap.saturating_add(1),
            Baseline::MovingAverage => gap.saturating_add(self.average),
            Baseline::SeasonalNaive => ago,
            Baseline::Differencing => {
                let differences = gap.saturating_add(self.season).saturating_add(self.difference_average);
                differences.max(ago.saturating_add(back))
            }
        };
        if from < needed || to.saturating_sub(gap).saturating_sub(1) > self.series.len() {
            return Err(Error::invalid(
                format!("the number of values for {}", self.baseline.name()),
                from.min(self.series.len()),
                format!("at least {needed} values before the first forecast"),
            ));
        }
        Ok((from..to)
            .map(|t| match self.baseline {
                Baseline::Naive => self.series[t - gap - 1],
                Baseline::MovingAverage => self.values.mean(t - gap - self.average, t - gap),
                Baseline::SeasonalNaive => self.series[t - ago],
                Baseline::Differencing => {
                    let known = t - gap - self.season;
                    let level = self.differences.mean(known - self.difference_average, known);
                    level + self.values.mean(t - ago - back, t - ago + ahead)
                }
            })
            .collect())
    }
}

/// Cumulative sums, so that the mean of any range takes constant time.
struct Sums(Vec<f64>);

impl Sums {
    fn of(values: &[f64]) -> Self {
        let mut sum = 0.0;
        let rest = values.iter().map(|value| {
            sum += value;
            sum
        });
        Self(std::iter::once(0.0).chain(rest).collect())
    }

    /// Returns the mean of the values `from..to`.
    fn mean(&self, from: usize, to: usize) -> f64 {
        (self.0[to] - self.0[from]) / (to - from) as f64
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
