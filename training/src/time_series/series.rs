//! Series of numbers, and the synthetic one of the TensorFlow time-series course.

use clap::Args;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::Timestamps;
use crate::flags::default_flags;
use text_recognizer::rng::Mt19937;
use text_recognizer::{Error, Result};

/// One or more columns of numbers over time.
#[derive(Debug)]
pub struct Series {
    /// What each row's time is called, in order.
    pub time: Vec<String>,
    /// The same as numbers or dates; rows without times are counted from 0.
    pub timestamps: Timestamps,
    /// What each column is called.
    pub names: Vec<String>,
    /// `[time, columns]`, single precision.
    pub values: Tensor,
    /// Rows of a season, where that is known.
    pub season: Option<usize>,
}

impl Series {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.time.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.time.is_empty()
    }

    /// One column's values.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn column(&self, index: usize) -> Result<Vec<f64>> {
        Ok(Vec::<f64>::try_from(self.values.f_select(1, index as i64)?.f_to_kind(tch::Kind::Double)?)?)
    }
}

/// The constants of the synthetic series; the defaults are the course's.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticConfig {
    /// Number of values.
    #[arg(long = "length", default_value_t = 4 * 365 + 1)]
    pub length: usize,
    /// Level at time 0.
    #[arg(long = "baseline", default_value_t = 10.0, allow_negative_numbers = true)]
    pub baseline: f32,
    /// Growth per step.
    #[arg(long = "slope", default_value_t = 0.05, allow_negative_numbers = true)]
    pub slope: f32,
    /// Height of the seasonal pattern.
    #[arg(long = "amplitude", default_value_t = 40.0, allow_negative_numbers = true)]
    pub amplitude: f32,
    /// Share of a season in which the pattern is a cosine; then it decays.
    #[arg(long = "pattern_switch", default_value_t = 0.4)]
    pub pattern_switch: f32,
    /// How fast it decays, per season.
    #[arg(long = "pattern_decay", default_value_t = 3.0, allow_negative_numbers = true)]
    pub pattern_decay: f32,
    /// Steps of a season.
    #[arg(long = "period", default_value_t = 365)]
    pub period: usize,
    /// Standard deviation of the noise.
    #[arg(long = "noise_level", default_value_t = 5.0)]
    pub noise_level: f64,
    /// Seed of the noise, as in `numpy.random.RandomState(seed)`.
    #[arg(long = "noise_seed", default_value_t = 42)]
    pub noise_seed: u32,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        default_flags()
    }
}

/// The synthetic series: `baseline + slope t + amplitude pattern((t mod period) / period)` in single precision, where
/// `pattern(s)` is `cos(2 pi s)` below `pattern_switch` and `exp(-pattern_decay s)` from there on, plus `noise_level` times normal noise, added in
/// double precision and rounded once.
///
/// # Errors
/// When the length or the period is 0, memory does not hold the length, or a value is not finite.
pub fn synthetic(config: &SyntheticConfig) -> Result<Series> {
    for (name, value) in [("length", config.length), ("period", config.period)] {
        if value == 0 {
            return Err(Error::invalid(name, value, "at least 1"));
        }
    }
    let mut noise = Mt19937::new(config.noise_seed);
    let value = |t: usize| {
        let season = (t % config.period) as f32 / config.period as f32;
        // cos and exp of the single-precision argument in double precision, rounded: what NumPy prints, whatever its version's
        // own single-precision functions are.
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
        return Err(Error::invalid("length", config.length, "a number of values that memory holds"));
    }
    values.extend((0..config.length).map(value));
    if let Some(t) = values.iter().position(|value| !value.is_finite()) {
        let expected = "a finite number: choose other constants";
        return Err(Error::invalid(format!("the value at time {t}"), values[t], expected));
    }
    Ok(Series {
        time: (0..config.length).map(|t| t.to_string()).collect(),
        timestamps: Timestamps::counted(config.length),
        names: vec!["value".into()],
        values: Tensor::from_slice(&values).view([-1, 1]),
        season: Some(config.period),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `golden/series.csv` is the course's series, made with NumPy; see the README beside it.
    #[test]
    fn the_series_is_that_of_the_course_to_the_last_digit() {
        let series = synthetic(&SyntheticConfig::default()).unwrap();
        let got = Vec::<f32>::try_from(series.values.view(-1)).unwrap();
        let golden = include_str!("../../tests/golden/series.csv").lines().skip(1);
        let golden: Vec<f32> = golden.map(|line| line.parse().unwrap()).collect();
        assert_eq!(got.len(), 1461);
        assert_eq!(got, golden);
        assert_eq!(got[..6], [52.48357, 49.35275, 53.314735, 57.711823, 48.934444, 48.931244]);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let default = SyntheticConfig::default;
        for (config, complaint) in [
            (SyntheticConfig { period: 0, ..default() }, "period is 0"),
            (SyntheticConfig { length: 0, ..default() }, "length is 0"),
            (SyntheticConfig { length: usize::MAX, ..default() }, "memory"),
            (SyntheticConfig { noise_level: f64::NAN, ..default() }, "at time 0 is NaN"),
            (SyntheticConfig { slope: f32::MAX, ..default() }, "at time 2 is inf"),
        ] {
            let error = synthetic(&config).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }
}
