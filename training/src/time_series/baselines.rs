//! Baselines: forecasts without training, by a rule or by a statistical model. A useful network has a smaller error than each rule.

use std::ops::Range;

use crate::flags::default_flags;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use text_recognizer::{Error, Result};

use super::Series;
use super::statistical::{Croston, Ets, Mstl, Theta, Tsb, Walk};

mod rules;

use rules::Rule;

/// A model that forecasts a value from earlier values, without training.
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
    /// Exponential smoothing (ETS): the form with the smallest AICc.
    AutoEts,
    /// The theta method: the better of its optimized forms.
    AutoTheta,
    /// A decomposition into seasons (--seasons) and exponential smoothing of the rest.
    Mstl,
    /// Croston's method, for demand with many zeros.
    Croston,
    /// The method of Teunter, Syntetos and Babai, for demand with many zeros.
    Tsb,
}

impl Baseline {
    /// All baselines.
    pub const ALL: [Self; 9] = [
        Self::Naive,
        Self::MovingAverage,
        Self::SeasonalNaive,
        Self::Differencing,
        Self::AutoEts,
        Self::AutoTheta,
        Self::Mstl,
        Self::Croston,
        Self::Tsb,
    ];

    /// Returns the name, as in `--model NAME`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::MovingAverage => "moving_average",
            Self::SeasonalNaive => "seasonal_naive",
            Self::Differencing => "differencing",
            Self::AutoEts => "auto_ets",
            Self::AutoTheta => "auto_theta",
            Self::Mstl => "mstl",
            Self::Croston => "croston",
            Self::Tsb => "tsb",
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
    /// Use these seasons in mstl, in rows, such as 24 168 [default: --season].
    #[arg(long = "seasons", num_args = 1.., value_delimiter = ',', value_name = "ROWS")]
    pub seasons: Vec<usize>,
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
    pub const FREE: &[&str] = &["seasons", "average", "difference_average", "past_average"];

    /// Checks the numbers of rows, also those that a baseline does not use.
    ///
    /// # Errors
    /// Fails if a number is 0.
    pub fn validate(&self) -> Result<()> {
        let Self { season, ref seasons, average, difference_average, past_average } = *self;
        let lengths = [
            ("season", season.unwrap_or(1)),
            ("seasons", seasons.iter().copied().min().unwrap_or(1)),
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
    /// Prepares forecasts from the values of `series`, `[rows]`. A statistical model is estimated on the first `known` rows; it uses
    /// the value of the season before, or the last value, in place of a missing one.
    ///
    /// # Errors
    /// Fails if a length is 0, if the season is needed and unknown, or if a statistical model has too few or unsuitable values.
    pub fn from_past<'a>(self, config: &BaselineConfig, series: &'a [f64], known: usize) -> Result<Past<'a>> {
        config.validate()?;
        let season = || {
            config.season.ok_or_else(|| {
                let expected = "a number of rows, which the timestamps do not determine; try --season ROWS";
                Error::invalid("season", "unknown", expected)
            })
        };
        let walk = || Walk::new(self.name(), series, config.season, known);
        Ok(match self {
            Self::Naive => Past::Rule(Rule::naive(series)),
            Self::MovingAverage => Past::Rule(Rule::moving_average(series, config)),
            Self::SeasonalNaive => Past::Rule(Rule::seasonal_naive(series, season()?)),
            Self::Differencing => Past::Rule(Rule::differencing(series, season()?, config)),
            Self::AutoEts => Past::Model(walk().with(|past| Ets::estimate(past, config.season))?),
            Self::AutoTheta => Past::Model(walk().with(|past| Theta::estimate(past, config.season))?),
            Self::Mstl if config.seasons.is_empty() => {
                let season = season()?;
                Past::Model(walk().with(|past| Mstl::estimate(past, &[season]))?)
            }
            Self::Mstl => Past::Model(walk().with(|past| Mstl::estimate(past, &config.seasons))?),
            Self::Croston => Past::Model(walk().with(Croston::estimate)?),
            Self::Tsb => Past::Model(walk().with(Tsb::estimate)?),
        })
    }
}

/// A baseline with the values that it forecasts from.
pub enum Past<'a> {
    /// A rule without parameters.
    Rule(Rule<'a>),
    /// A statistical model.
    Model(Walk),
}

impl Past<'_> {
    /// Forecasts the rows `rows` of the series. Returns one list per step ahead, `[horizon][rows]`: list `k` has for each row the
    /// forecast from `k + 1` steps, of `stride` rows, before it, or NaN if that is before the first of the rows. A statistical model
    /// keeps its parameters, and follows the values up to each forecast.
    ///
    /// # Errors
    /// Fails if there are too few values before the rows.
    pub fn forecast(self, rows: Range<usize>, horizon: usize, stride: usize) -> Result<Vec<Vec<f64>>> {
        let gaps = (0..horizon).map(|step| step.saturating_mul(stride).min(rows.len()));
        match self {
            Self::Rule(rule) => gaps
                .map(|gap| {
                    // The first forecast is made at `rows.start`, so that later steps ahead start later.
                    let mut forecasts = vec![f64::NAN; gap];
                    forecasts.extend(rule.forecast(rows.start + gap, rows.end, gap)?);
                    Ok(forecasts)
                })
                .collect(),
            Self::Model(walk) => Ok(walk.forecast(rows.clone(), &gaps.collect::<Vec<_>>())),
        }
    }

    /// Forecasts the next `steps` steps, of `stride` rows, after the last row of the series.
    ///
    /// # Errors
    /// Fails if there are too few values.
    pub fn future(self, steps: usize, stride: usize) -> Result<Vec<f64>> {
        match self {
            Self::Rule(rule) => {
                let gaps = (1..=steps).map(|step| step * stride - 1);
                gaps.map(|gap| Ok(rule.forecast(rule.rows() + gap, rule.rows() + gap + 1, gap)?[0])).collect()
            }
            Self::Model(walk) => Ok(walk.future(steps, stride)),
        }
    }

    /// Returns the form of a statistical model, and the number of missing values that it fills; `None` for a rule.
    pub fn note(&self) -> Option<String> {
        match self {
            Self::Rule(_) => None,
            Self::Model(walk) => Some(walk.note()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time_series::{SyntheticConfig, synthetic};

    /// The rules, which have no parameters.
    const RULES: [Baseline; 4] =
        [Baseline::Naive, Baseline::MovingAverage, Baseline::SeasonalNaive, Baseline::Differencing];

    /// Forecasts the rows `from..to` of `series`, each row `t` from the values before row `t - gap`.
    fn forecast(
        baseline: Baseline,
        config: &BaselineConfig,
        series: &[f64],
        (from, to): (usize, usize),
        gap: usize,
    ) -> Result<Vec<f64>> {
        let steps = baseline.from_past(config, series, from - gap)?.forecast(from - gap..to, 2, gap)?;
        Ok(steps[usize::from(gap > 0)][gap..].to_vec())
    }

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
            let forecast = forecast(baseline, &config, &series, (1000, 1461), 0).unwrap();
            let mae = forecast.iter().zip(&series[1000..]).map(|(f, y)| (f - y).abs()).sum::<f64>() / 461.0;
            assert!((mae - expected).abs() < 6e-4, "{baseline:?} {config:?}: {mae} is not {expected}");
        }
    }

    #[test]
    fn forecast_with_gap_depends_on_no_later_value() {
        let config = BaselineConfig {
            season: Some(6),
            average: 3,
            difference_average: 4,
            past_average: 5,
            ..BaselineConfig::default()
        };
        let series: Vec<f64> = (0..40).map(|t| f64::from(t * t % 17)).collect();
        for gap in 0..9 {
            let mut unknown = series.clone();
            unknown[30 - gap..].iter_mut().for_each(|value| *value += 100.0);
            let mut latest = series.clone();
            latest[29 - gap] += 100.0;
            for baseline in RULES {
                let first = |series: &[f64]| forecast(baseline, &config, series, (30, 40), gap).unwrap()[0];
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
        let config = BaselineConfig {
            season: Some(3),
            average: 3,
            difference_average: 3,
            past_average: 1,
            ..BaselineConfig::default()
        };
        let gap = f64::NAN;
        let series = [1.0, 2.0, 3.0, 4.0, gap, 6.0, gap, 8.0, gap, gap];
        let of = |baseline: Baseline, from| forecast(baseline, &config, &series, (from, 10), 0).unwrap();
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
            both.map(|baseline| forecast(baseline, &config, &series, (50, 100), 0).unwrap_err().to_string())
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
