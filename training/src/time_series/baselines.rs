//! Forecasts without training, which a model must beat to be worth its while.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use text_recognizer::util::default_flags;
use text_recognizer::{Error, Result};

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

impl Baseline {
    /// Forecasts of `series[from..to]`, each of row `t` from the values before row `t - gap` alone: a `gap` of 0 is one step
    /// ahead.
    ///
    /// # Errors
    /// When a length is 0, the season is needed and unknown, or there are not enough values before `from`.
    pub fn forecast(
        self,
        config: &BaselineConfig,
        series: &[f64],
        from: usize,
        to: usize,
        gap: usize,
    ) -> Result<Vec<f64>> {
        let season = match (self, config.season) {
            // What looks at no season has one of any length.
            (Self::Naive | Self::MovingAverage, None) => 1,
            (_, Some(season)) => season,
            (Self::SeasonalNaive | Self::Differencing, None) => {
                let expected = "its number of rows: the times of the series do not tell it";
                return Err(Error::invalid("season", "unknown", expected));
            }
        };
        let lengths = [
            ("season", season),
            ("average", config.average),
            ("difference_average", config.difference_average),
            ("past_average", config.past_average),
        ];
        for (name, value) in lengths {
            if value == 0 {
                return Err(Error::invalid(name, 0, "at least 1"));
            }
        }
        // The window around a season ago reaches past_average / 2 steps further back, and never beyond the present.
        let back = config.past_average / 2;
        // The latest whole number of seasons ago that is known.
        let ago = season.saturating_mul(gap / season + 1);
        let ahead = (config.past_average - back).min(ago - gap);
        let needed = match self {
            Self::Naive => gap.saturating_add(1),
            Self::MovingAverage => gap.saturating_add(config.average),
            Self::SeasonalNaive => ago,
            Self::Differencing => {
                let differences = gap.saturating_add(season).saturating_add(config.difference_average);
                differences.max(ago.saturating_add(back))
            }
        };
        if from < needed || to > series.len() {
            let expected = format!("at least {needed} values before the first forecast");
            return Err(Error::invalid(
                format!("the series for {}", self.name()),
                format!("{from} values before it"),
                expected,
            ));
        }
        let values = Sums::of(series);
        let differences: Vec<f64> = (season..series.len()).map(|t| series[t] - series[t - season]).collect();
        let differences = Sums::of(&differences);
        Ok((from..to)
            .map(|t| match self {
                Self::Naive => series[t - gap - 1],
                Self::MovingAverage => values.mean(t - gap - config.average, t - gap),
                Self::SeasonalNaive => series[t - ago],
                Self::Differencing => {
                    let known = t - gap - season;
                    let level = differences.mean(known - config.difference_average, known);
                    level + values.mean(t - ago - back, t - ago + ahead)
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
