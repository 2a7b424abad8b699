//! Time series, and the synthetic series of the TensorFlow time-series course.

use clap::Args;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{Columns, Timestamps};
use crate::flags::default_flags;
use text_recognizer::rng::Mt19937;
use text_recognizer::{Error, Result};

/// One or more columns of numbers over time.
#[derive(Debug)]
pub struct Series {
    /// The timestamps as numbers or dates; row numbers from 0 if the series has none.
    pub timestamps: Timestamps,
    /// The name of each column.
    pub names: Vec<String>,
    /// Whether the names come from the source of the series; false for names that were made up for a source without names.
    pub named: bool,
    /// The values, `[rows, columns]`, in double precision. NaN is a missing value.
    pub values: Tensor,
    /// Rows per season; `None` if unknown.
    pub season: Option<usize>,
    /// What a reader found out, left out or inserted, one sentence each.
    pub notes: Vec<String>,
}

impl Series {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.values.size().first().map_or(0, |&rows| rows as usize)
    }

    /// Returns whether the series has no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the names of the columns, for the checkpoint of a model of this series.
    pub fn columns(&self) -> Columns {
        Columns { names: self.names.clone(), named: Some(self.named) }
    }

    /// Returns the values of one column, `[rows]`.
    ///
    /// # Errors
    /// Fails if `index` is not below the number of columns.
    pub fn column(&self, index: usize) -> Result<Vec<f64>> {
        Ok(Vec::<f64>::try_from(self.values.f_select(1, index as i64)?)?)
    }
}

/// The most rows of a synthetic series, which bounds its memory to a few gigabytes.
const MAX_LENGTH: usize = 20_000_000;

/// The constants of the synthetic series. The defaults are those of the TensorFlow time-series course.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticConfig {
    /// Generate this many rows.
    #[arg(long = "length", default_value_t = 4 * 365 + 1)]
    pub length: usize,
    /// Start the trend at this value.
    #[arg(long = "baseline", default_value_t = 10.0, allow_negative_numbers = true)]
    pub baseline: f32,
    /// Increase the trend by this per row.
    #[arg(long = "slope", default_value_t = 0.05, allow_negative_numbers = true)]
    pub slope: f32,
    /// Set the amplitude of the seasonal pattern.
    #[arg(long = "amplitude", default_value_t = 40.0, allow_negative_numbers = true)]
    pub amplitude: f32,
    /// Use a cosine pattern in this share of a season, 0 to 1; the pattern decays in the rest.
    #[arg(long = "pattern_switch", default_value_t = 0.4)]
    pub pattern_switch: f32,
    /// Set the exponential decay rate of the pattern, per season.
    #[arg(long = "pattern_decay", default_value_t = 3.0, allow_negative_numbers = true)]
    pub pattern_decay: f32,
    /// Repeat the pattern after this many rows.
    #[arg(long = "period", default_value_t = 365)]
    pub period: usize,
    /// Set the std of the noise.
    #[arg(long = "noise_level", default_value_t = 5.0)]
    pub noise_level: f64,
    /// Set the seed of the noise, as in `numpy.random.RandomState(seed)`.
    #[arg(long = "noise_seed", default_value_t = 42)]
    pub noise_seed: u32,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        default_flags()
    }
}

/// Returns the synthetic series of the TensorFlow time-series course, `[length, 1]`.
///
/// At row `t` it is `baseline + slope t + amplitude pattern((t mod period) / period) + noise_level noise`. `pattern(s)` is
/// `cos(2 pi s)` if `s < pattern_switch`, and `exp(-pattern_decay s)` otherwise. `noise` is normal, of mean 0 and std 1. The
/// noise is added in double precision and the sum is rounded once; all other terms are in single precision.
///
/// # Errors
/// Fails if the length or the period is 0, if memory cannot hold the values, or if a value is not finite.
pub fn synthetic(config: &SyntheticConfig) -> Result<Series> {
    for (name, value) in [("length", config.length), ("period", config.period)] {
        if value == 0 {
            return Err(Error::invalid(name, value, "at least 1"));
        }
    }
    if config.length > MAX_LENGTH {
        return Err(Error::invalid(
            "length",
            config.length,
            format!("at most {MAX_LENGTH}, which fit in memory"),
        ));
    }
    let mut noise = Mt19937::new(config.noise_seed);
    let value = |t: usize| {
        let season = (t % config.period) as f32 / config.period as f32;
        // cos and exp are computed in double precision and rounded. The result then does not depend on the single-precision
        // functions of a version of NumPy.
        let pattern = if season < config.pattern_switch {
            f64::from(season * std::f32::consts::TAU).cos() as f32
        } else {
            1.0 / (f64::from(config.pattern_decay * season).exp() as f32)
        };
        let clean = config.baseline + config.slope * t as f32 + config.amplitude * pattern;
        (f64::from(clean) + noise.randn() * config.noise_level) as f32
    };
    let mut values: Vec<f32> = Vec::new();
    if values.try_reserve_exact(config.length).is_err() {
        return Err(Error::invalid("length", config.length, "a number of values that fits in memory"));
    }
    values.extend((0..config.length).map(value));
    if let Some(t) = values.iter().position(|value| !value.is_finite()) {
        let expected = "a finite number; try other constants";
        return Err(Error::invalid(format!("the value at row {t}"), values[t], expected));
    }
    Ok(Series {
        timestamps: Timestamps::counted(config.length),
        names: vec!["value".into()],
        named: false,
        values: Tensor::f_from_slice(&values)?.f_to_kind(Kind::Double)?.f_view([-1, 1])?,
        season: Some(config.period),
        notes: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `golden/series.csv` is the series of the course, made with NumPy; see `golden/series.md`.
    #[test]
    fn synthetic_with_the_defaults_equals_the_course_series_exactly() {
        let series = synthetic(&SyntheticConfig::default()).unwrap();
        let got = Vec::<f32>::try_from(series.values.view(-1).to_kind(Kind::Float)).unwrap();
        let golden = include_str!("../../tests/golden/series.csv").lines().skip(1);
        let golden: Vec<f32> = golden.map(|line| line.parse().unwrap()).collect();
        assert_eq!(got.len(), 1461);
        assert_eq!(got, golden);
        assert_eq!(got[..6], [52.48357, 49.35275, 53.314735, 57.711823, 48.934444, 48.931244]);
    }

    #[test]
    fn synthetic_with_impossible_config_is_an_error() {
        let default = SyntheticConfig::default;
        for (config, expected) in [
            (SyntheticConfig { period: 0, ..default() }, "period is 0"),
            (SyntheticConfig { length: 0, ..default() }, "length is 0"),
            (SyntheticConfig { length: usize::MAX, ..default() }, "memory"),
            (SyntheticConfig { noise_level: f64::NAN, ..default() }, "at row 0 is NaN"),
            (SyntheticConfig { slope: f32::MAX, ..default() }, "at row 2 is inf"),
        ] {
            let error = synthetic(&config).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
