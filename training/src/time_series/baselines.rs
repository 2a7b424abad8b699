//! Forecasts without training, which a model must beat to be worth its while.

use crate::flags::default_flags;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use text_recognizer::{Error, Result};

use super::Series;

/// A rule that forecasts a value from those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Baseline {
    /// The last value.
    Naive,
    /// The mean of the last values.
    MovingAverage,
    /// The value a season ago.
    SeasonalNaive,
    /// A smoothed season ago, plus the mean of the latest differences to a season ago.
    Differencing,
}

impl Baseline {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Naive, Self::MovingAverage, Self::SeasonalNaive, Self::Differencing];

    /// As in `--model NAME`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::MovingAverage => "moving_average",
            Self::SeasonalNaive => "seasonal_naive",
            Self::Differencing => "differencing",
        }
    }
}

/// The lengths that baselines look back; the defaults are the course's.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineConfig {
    /// Rows of a season, for the baselines that know one [default: --period, or by the times of a file: 12 months, 4 quarters,
    /// 52 weeks, 7 days, 24 hours].
    #[arg(long = "season")]
    pub season: Option<usize>,
    /// Values that the baseline moving_average is over.
    #[arg(long = "average", default_value_t = 20)]
    pub average: usize,
    /// Differences that the baseline differencing averages.
    #[arg(long = "difference_average", default_value_t = 50)]
    pub difference_average: usize,
    /// Values around a season ago that the baseline differencing averages; 1: the raw past.
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

    /// Returns the lengths for `series`: its own season where no other is given.
    pub fn of(self, series: &Series) -> Self {
        Self { season: self.season.or(series.season), ..self }
    }
}

impl Baseline {
    /// Prepares forecasts from the values of `series`.
    ///
    /// # Errors
    /// Fails if a length is 0, or if the season is needed and unknown.
    pub fn from_past<'a>(self, config: &BaselineConfig, series: &'a [f64]) -> Result<Past<'a>> {
        let season = match (self, config.season) {
            // A rule without a season has one of any length.
            (Self::Naive | Self::MovingAverage, None) => 1,
            (_, Some(season)) => season,
            (Self::SeasonalNaive | Self::Differencing, None) => {
                let expected = "its number of rows: the times of the series do not tell it";
                return Err(Error::invalid("season", "unknown", expected));
            }
        };
        let BaselineConfig { average, difference_average, past_average, .. } = *config;
        let lengths = [
            ("season", season),
            ("average", average),
            ("difference_average", difference_average),
            ("past_average", past_average),
        ];
        if let Some((name, _)) = lengths.iter().find(|(_, value)| *value == 0) {
            return Err(Error::invalid(*name, 0, "at least 1"));
        }
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

    /// Forecasts `series[from..to]`, each row `t` from the values before row `t - gap` alone: a `gap` of 0 is one step ahead.
    ///
    /// # Errors
    /// Fails as [`Baseline::from_past`] does, and if there are not enough values before `from`.
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
    /// The differences to a season ago.
    differences: Sums,
}

impl Past<'_> {
    /// Forecasts the rows `from..to`, each row `t` from the values before row `t - gap` alone. The rows may lie after the end
    /// of the series, by up to `gap`.
    ///
    /// # Errors
    /// Fails if there are not enough values before `from`.
    pub fn forecast(&self, from: usize, to: usize, gap: usize) -> Result<Vec<f64>> {
        // The window around a season ago reaches past_average / 2 steps further back, and never beyond the present.
        let back = self.past_average / 2;
        // The latest whole number of seasons ago that is known.
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
                format!("the series for {}", self.baseline.name()),
                format!("{} values before it", from.min(self.series.len())),
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

/// Sums of all beginnings, so that any mean takes one subtraction.
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

    fn mean(&self, from: usize, to: usize) -> f64 {
        (self.0[to] - self.0[from]) / (to - from) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time_series::{SyntheticConfig, synthetic};

    /// What the course's own code gives on the same 461 points.
    #[test]
    fn the_baselines_reach_the_figures_of_the_course() {
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
    fn no_forecast_looks_at_what_it_forecasts() {
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
                        "{baseline:?}, gap {gap}: the latest value counts"
                    );
                }
            }
        }
    }

    #[test]
    fn too_short_a_past_is_refused() {
        let series = vec![1.0; 100];
        let refusal = |season| {
            let config = BaselineConfig { season, ..BaselineConfig::default() };
            let both = [Baseline::SeasonalNaive, Baseline::Differencing];
            both.map(|baseline| baseline.forecast(&config, &series, 50, 100, 0).unwrap_err().to_string())
        };
        for (season, part) in
            [(Some(365), "50 values"), (Some(usize::MAX), "50 values"), (None, "season is unknown")]
        {
            for error in refusal(season) {
                assert!(error.contains(part), "{season:?}: {error}");
            }
        }
    }
}
