//! Time series, and the synthetic series of the TensorFlow time-series course.

use std::ops::Range;
use std::rc::Rc;

use clap::Args;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::fill::{Filled, fill};
use super::{Columns, CovariateValues, Fill, Timestamps};
use crate::flags::default_flags;
use crate::format;
use text_recognizer::rng::Mt19937;
use text_recognizer::{Error, Result};

/// One or more columns of numbers over time.
#[derive(Debug)]
pub struct Series {
    /// The name among many series; empty for a single one.
    pub key: String,
    /// The values of columns that have one value per series.
    pub statics: Vec<String>,
    /// The timestamps as numbers or dates; row numbers from 0 if the series has none.
    pub timestamps: Rc<Timestamps>,
    /// The name of each column that models forecast.
    pub names: Vec<String>,
    /// Whether the names come from the source of the series; false for names that were made up for a source without names.
    pub named: bool,
    /// The values, `[rows, columns]`, in double precision. NaN is a missing value.
    pub values: Tensor,
    /// The values with filled gaps, which models forecast from; `None` if nothing is filled.
    filled: Option<Filled>,
    /// The inputs of networks beside the values; `None` without covariates and features.
    covariates: Option<CovariateValues>,
    /// Rows per season; `None` if unknown.
    pub season: Option<usize>,
    /// Notes on the form of the file and on rows and columns that were left out or inserted, one sentence each.
    pub notes: Vec<String>,
}

/// The rows of a block.
const BLOCK: usize = 1 << 16;

impl Series {
    /// Creates a series of `values: [rows, columns]`, in double precision, with the season of its timestamps.
    ///
    /// # Errors
    /// Fails if there is not one timestamp per row and one name per column, or if the values have another precision.
    pub fn new(
        timestamps: impl Into<Rc<Timestamps>>,
        names: Vec<String>,
        named: bool,
        values: Tensor,
    ) -> Result<Self> {
        let timestamps = timestamps.into();
        let size = values.size();
        if size != [timestamps.len() as i64, names.len() as i64] || values.kind() != Kind::Double {
            let expected = format!("[{}, {}] in double precision", timestamps.len(), names.len());
            return Err(Error::shape("Series", expected, &size));
        }
        let season = timestamps.season();
        let (filled, covariates, notes) = (None, None, Vec::new());
        let (key, statics) = (String::new(), Vec::new());
        Ok(Self { key, statics, timestamps, names, named, values, filled, covariates, season, notes })
    }

    /// Sets the name among many series, and the values of the columns that have one value per series.
    #[must_use]
    pub fn of_group(self, key: String, statics: Vec<String>) -> Self {
        Self { key, statics, ..self }
    }

    /// Adds covariates.
    ///
    /// # Errors
    /// Fails if there are fewer rows of covariates.
    pub fn with_covariates(mut self, covariates: CovariateValues) -> Result<Self> {
        let (rows, found) = (self.len() as i64, covariates.past.size()[0].min(covariates.future.size()[0]));
        if found < rows {
            return Err(Error::invalid(
                "the number of rows of covariates",
                found,
                format!("at least {rows}"),
            ));
        }
        self.covariates = Some(covariates);
        Ok(self)
    }

    /// Returns what networks get beside the values; `None` without covariates and features.
    pub fn covariates(&self) -> Option<&CovariateValues> {
        self.covariates.as_ref()
    }

    /// Returns the covariates, to add rows after the last one.
    pub fn covariates_mut(&mut self) -> Option<&mut CovariateValues> {
        self.covariates.as_mut()
    }

    /// Returns the values that models forecast from, `[rows, columns]`: with filled gaps after [`Series::fill`].
    pub fn inputs(&self) -> &Tensor {
        self.filled.as_ref().map_or(&self.values, |filled| &filled.values)
    }

    /// Returns the rows in blocks of [`BLOCK`] rows, for operations whose results would take as much memory as the values.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = self.len();
        (0..rows).step_by(BLOCK).map(move |start| start..rows.min(start + BLOCK))
    }

    /// Returns whether a window may not end at `row`, because one of its inputs is filled from a row that is not known then. Its inputs
    /// that are known beforehand are `lead` rows later.
    pub fn looks_ahead(&self, row: usize, lead: usize) -> bool {
        let of_values = self.filled.as_ref().and_then(|filled| filled.looks_ahead.get(row).copied());
        of_values == Some(true)
            || self.covariates.as_ref().is_some_and(|values| values.looks_ahead(row, lead))
    }

    /// Returns the number of missing values.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn missing(&self) -> Result<usize> {
        Ok(self.values.f_isnan()?.f_sum(Kind::Int64)?.f_int64_value(&[])? as usize)
    }

    /// Fills the missing values that models forecast from, with `season` rows per season; see [`Fill`]. Adds a note with their
    /// number.
    ///
    /// # Errors
    /// Fails if the fill needs a season and `season` is `None`.
    pub fn fill(&mut self, how: Fill, season: Option<usize>, splits: &[usize]) -> Result<()> {
        if let Some(covariates) = &mut self.covariates {
            self.notes.extend(covariates.fill(how, season, splits)?);
        }
        let missing = self.missing()?;
        if missing == 0 {
            return Ok(());
        }
        let filled = fill(&self.values, how, season, splits)?;
        self.notes.push(match how {
            Fill::None => {
                format!(
                    "{} missing; windows with one are left out (--fill fills them)",
                    format::count(missing as u64, "value")
                )
            }
            _ => format!(
                "filled {} of {} (--fill)",
                filled.count,
                format::count(missing as u64, "missing value")
            ),
        });
        self.filled = Some(filled).filter(|filled| filled.count > 0);
        Ok(())
    }

    /// Returns the first `rows` rows, without filled gaps. The values are a view of those of this series. What is known beforehand stays
    /// known for the later rows.
    ///
    /// # Errors
    /// Fails if there are fewer rows.
    pub fn head(&self, rows: usize) -> Result<Self> {
        Ok(Self {
            key: self.key.clone(),
            statics: self.statics.clone(),
            timestamps: Rc::new(self.timestamps.head(rows)),
            names: self.names.clone(),
            named: self.named,
            values: self.values.f_narrow(0, 0, rows as i64)?,
            filled: None,
            covariates: self.covariates.as_ref().map(|covariates| covariates.head(rows)).transpose()?,
            season: self.season,
            notes: Vec::new(),
        })
    }

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

    /// Returns the names of the columns and the covariates; none for names that were made up for a file without a header, which contain
    /// the name of the file.
    pub(super) fn column_names(&self) -> Vec<String> {
        let roles = self.covariates.as_ref().map(|covariates| &covariates.roles);
        let covariates = roles.into_iter().flat_map(|roles| roles.past.iter().chain(&roles.future));
        self.names.iter().chain(covariates).filter(|_| self.named).cloned().collect()
    }

    /// Returns the timestamps, the values and the covariates as bytes, in blocks.
    pub(super) fn bytes(&self) -> impl Iterator<Item = Result<Vec<u8>>> + '_ {
        let bytes = |numbers: Vec<f64>| numbers.into_iter().flat_map(f64::to_le_bytes).collect::<Vec<u8>>();
        let times = self.blocks().map(move |rows| Ok(bytes(self.timestamps.numbers_of(rows))));
        let covariates = self.covariates.as_ref().map(|covariates| [&covariates.past, &covariates.future]);
        let tables = std::iter::once(&self.values).chain(covariates.into_iter().flatten());
        let values = tables.flat_map(move |table| {
            self.blocks().map(move |rows| {
                let rows = table.f_narrow(0, rows.start as i64, rows.len() as i64)?;
                Ok(bytes(Vec::try_from(rows.f_contiguous()?.f_view(-1)?)?))
            })
        });
        times.chain(values)
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
    let values = Tensor::f_from_slice(&values)?.f_to_kind(Kind::Double)?.f_view([-1, 1])?;
    let series = Series::new(Timestamps::counted(config.length), vec!["value".into()], false, values)?;
    Ok(Series { season: Some(config.period), ..series })
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
