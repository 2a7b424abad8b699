//! The data module of a series: splits, windows and scaling.

use std::ops::Range;

use tch::{Kind, Tensor};
use text_recognizer::data::{DataIdentity, DataModule, DataSpec, DataSplits, Dataset, Shuffle};
use text_recognizer::{Error, Result};

use super::window_config::{ShuffleBuffer, WindowConfig};
use super::windows::{Layout, WindowDataset};
use super::{BaselineConfig, Scaler, Series, Target};

/// The most forecasts of a validation split, over all rows, columns and steps ahead: 2 GiB of values.
const MAX_FORECASTS: usize = 1 << 28;

/// A series with its splits, windows and scaling.
#[derive(Debug)]
pub struct SeriesDataModule {
    series: Series,
    config: WindowConfig,
    baselines: BaselineConfig,
    scaler: Scaler,
    /// The rows of the validation split.
    validation: Range<usize>,
    target: Target,
}

impl SeriesDataModule {
    /// Splits `series`, `[rows, columns]`, and fits the scaling on the training split. The season of `baselines` is the season of
    /// `series` if they have none. `target` selects the targets of the training windows.
    ///
    /// # Errors
    /// Fails if a size is 0, if the training split is empty, if the validation split is shorter than the horizon, or if
    /// `split_time` or `test_time` is outside of the series.
    pub fn new(
        series: Series,
        config: WindowConfig,
        baselines: BaselineConfig,
        target: Target,
    ) -> Result<Self> {
        config.validate()?;
        baselines.validate()?;
        let rows = series.len();
        let split = config.split_time.of(rows);
        let end = config.test_time.map_or(rows, |point| point.of(rows));
        if split == 0 || split >= rows {
            return Err(Error::invalid(
                "split_time",
                split,
                format!("between 1 and {}, because the series has {rows} rows", rows.saturating_sub(1)),
            ));
        }
        if end <= split || end > rows {
            return Err(Error::invalid(
                "test_time",
                end,
                format!("greater than split_time, {split}, and at most {rows}"),
            ));
        }
        check_horizon(&config, end - split, series.names.len())?;
        let training = series.values.f_narrow(0, 0, split as i64)?;
        let scaler = Scaler::fit(config.scaling, &training)?;
        let baselines = baselines.of(&series);
        Ok(Self { series, config, baselines, scaler, validation: split..end, target })
    }

    /// Returns the series in its own units, without scaling.
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// Returns the scaling, fitted on the training split.
    pub fn scaler(&self) -> &Scaler {
        &self.scaler
    }

    /// Returns the rows of the validation split.
    pub fn validation(&self) -> Range<usize> {
        self.validation.clone()
    }

    /// Returns the configuration of splits and windows.
    pub fn windows(&self) -> &WindowConfig {
        &self.config
    }

    /// Returns the lengths that baselines look back, with the season of the series.
    pub fn baselines(&self) -> &BaselineConfig {
        &self.baselines
    }

    fn layout(&self, shift: usize) -> Layout {
        let WindowConfig { window_size, horizon, stride, .. } = self.config;
        Layout { window_size, horizon, shift, stride, sequence: self.target == Target::EachStep }
    }

    /// Returns windows whose targets are the rows `from..to`. Their inputs may be rows before `from`, so that each row has a
    /// forecast.
    fn forecasts(&self, scaled: &Tensor, from: usize, to: usize) -> Result<Box<dyn Dataset>> {
        let reach = self.config.window_size.saturating_mul(self.config.stride);
        let start = from.checked_sub(reach).ok_or_else(|| {
            let expected = format!("at most {from}, the number of rows before the split");
            Error::invalid("window_size", format!("{reach} rows long"), expected)
        })?;
        let rows = scaled.f_narrow(0, start as i64, (to - start) as i64)?;
        Ok(Box::new(WindowDataset::new(&rows, self.layout(1))?))
    }
}

/// Checks that a validation split of `rows` rows contains the steps of one forecast, and that memory can contain all forecasts.
fn check_horizon(config: &WindowConfig, rows: usize, columns: usize) -> Result<()> {
    let WindowConfig { horizon, stride, .. } = *config;
    let needed = (horizon - 1).saturating_mul(stride).saturating_add(1);
    if needed > rows {
        let expected = format!(
            "at least {needed} rows for a horizon of {horizon} and a stride of {stride}; try a smaller horizon, or another \
             split_time or test_time"
        );
        return Err(Error::invalid("the validation split", format!("{rows} rows long"), expected));
    }
    let forecasts = rows.saturating_mul(columns).saturating_mul(horizon);
    if forecasts > MAX_FORECASTS {
        let expected = format!(
            "at most {MAX_FORECASTS} for {rows} rows, {columns} columns and a horizon of {horizon}; try a smaller horizon, or \
             another split_time or test_time"
        );
        return Err(Error::invalid("the number of forecasts of the validation split", forecasts, expected));
    }
    Ok(())
}

impl DataModule for SeriesDataModule {
    fn spec(&self) -> DataSpec {
        let columns = self.series.names.len() as i64;
        DataSpec {
            input_dims: vec![self.config.window_size as i64, columns],
            output_dims: vec![self.config.horizon as i64, columns],
            mapping: self.series.names.clone(),
            image: None,
        }
    }

    fn prepare_data(&self) -> Result<()> {
        Ok(())
    }

    fn setup(&self) -> Result<DataSplits> {
        // Rounded after the scaling, which keeps the digits of values that are large and close to each other.
        let scaled = self.scaler.transform(&self.series.values)?.f_to_kind(Kind::Float)?;
        let Range { start: split, end } = self.validation;
        let training = scaled.f_narrow(0, 0, split as i64)?;
        let test =
            (end < self.series.len()).then(|| self.forecasts(&scaled, end, self.series.len())).transpose()?;
        Ok(DataSplits {
            train: Box::new(WindowDataset::new(&training, self.layout(self.config.shift))?),
            val: self.forecasts(&scaled, split, end)?,
            test,
        })
    }

    fn identity(&self) -> Result<Option<DataIdentity>> {
        let Series { timestamps, names, named, values, .. } = &self.series;
        // Names that were made up for a file without a header contain the name of the file.
        let names = if *named { &names[..] } else { &[] };
        let bytes = |numbers: Vec<f64>| numbers.into_iter().flat_map(f64::to_le_bytes).collect::<Vec<u8>>();
        let values = bytes(Vec::try_from(values.f_contiguous()?.f_view(-1)?)?);
        let parts = [&bytes(timestamps.numbers())[..], &values];
        Ok(Some(DataIdentity::of(self.series.len() as u64, names, parts.into_iter())))
    }

    fn shuffle(&self, seed: u64) -> Shuffle {
        let reshuffle = self.config.reshuffle_each_iteration;
        let size = match self.config.shuffle_buffer {
            ShuffleBuffer::Full(_) if reshuffle => return Shuffle::Full { seed },
            ShuffleBuffer::Full(_) => usize::MAX,
            ShuffleBuffer::Size(size) => size,
        };
        Shuffle::Buffer { seed, size, reshuffle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time_series::{Scaling, SplitPoint, SyntheticConfig, synthetic};

    fn config() -> WindowConfig {
        WindowConfig {
            split_time: SplitPoint::Row(1000),
            test_time: None,
            window_size: 20,
            horizon: 1,
            shift: 1,
            stride: 1,
            shuffle_buffer: ShuffleBuffer::Size(1000),
            reshuffle_each_iteration: true,
            scaling: Scaling::None,
        }
    }

    fn module(config: WindowConfig) -> Result<SeriesDataModule> {
        let baselines = BaselineConfig::default();
        SeriesDataModule::new(synthetic(&SyntheticConfig::default())?, config, baselines, Target::AfterWindow)
    }

    #[test]
    fn setup_with_the_defaults_has_980_training_and_461_validation_windows() {
        let module = module(config()).unwrap();
        let splits = module.setup().unwrap();
        assert_eq!((splits.train.len(), splits.val.len()), (980, 461));
        let (_, y) = splits.val.slice(0, 461).unwrap();
        assert_eq!(y.view(-1).to_kind(Kind::Double), module.series().values.narrow(0, 1000, 461).view(-1));
        let (x, y) = splits.train.slice(979, 1).unwrap();
        assert_eq!((x.size(), y.size()), (vec![1, 20, 1], vec![1, 1, 1]));
        assert_eq!(y.double_value(&[0, 0, 0]), module.series().column(0).unwrap()[999]);
    }

    #[test]
    fn setup_with_share_and_test_time_has_three_splits() {
        let config = WindowConfig {
            split_time: SplitPoint::Share(0.5),
            test_time: Some(SplitPoint::Row(1400)),
            horizon: 3,
            ..config()
        };
        let splits = module(config).unwrap().setup().unwrap();
        assert_eq!(
            (splits.train.len(), splits.val.len(), splits.test.unwrap().len()),
            (731 - 22, 1400 - 731 - 2, 61 - 2)
        );
    }

    #[test]
    fn scaling_is_fitted_on_the_training_split_only() {
        let module = module(WindowConfig { scaling: Scaling::Minmax, ..config() }).unwrap();
        let (x, _) = module.setup().unwrap().train.slice(0, 980).unwrap();
        assert!(x.min().double_value(&[]) >= 0.0 && x.max().double_value(&[]) <= 1.0);
        let (_, y) = module.setup().unwrap().val.slice(0, 461).unwrap();
        assert!(y.max().double_value(&[]) > 1.0);
    }

    #[test]
    fn check_horizon_of_more_forecasts_than_memory_is_an_error() {
        let config = WindowConfig { horizon: 1 << 20, ..config() };
        let error = check_horizon(&config, 1 << 21, 1).unwrap_err().to_string();
        assert!(error.contains("validation split is 2199023255552: expected at most"), "{error}");
        assert!(check_horizon(&config, usize::MAX, usize::MAX).is_err());
    }

    #[test]
    fn setup_with_zero_rows_for_a_baseline_is_an_error() {
        let of = |change: fn(&mut BaselineConfig)| {
            let mut baselines = BaselineConfig::default();
            change(&mut baselines);
            let series = synthetic(&SyntheticConfig::default()).unwrap();
            SeriesDataModule::new(series, config(), baselines, Target::AfterWindow).unwrap_err().to_string()
        };
        assert!(of(|baselines| baselines.season = Some(0)).contains("season is 0: expected at least 1"));
        assert!(of(|baselines| baselines.average = 0).contains("average is 0"));
        assert!(of(|baselines| baselines.difference_average = 0).contains("difference_average is 0"));
        assert!(of(|baselines| baselines.past_average = 0).contains("past_average is 0"));
    }

    #[test]
    fn setup_with_impossible_split_or_window_is_an_error_with_the_value() {
        let cases = [
            (WindowConfig { split_time: SplitPoint::Row(1461), ..config() }, "1461"),
            (WindowConfig { split_time: SplitPoint::Row(0), ..config() }, "split_time"),
            (WindowConfig { test_time: Some(SplitPoint::Row(900)), ..config() }, "test_time"),
            (WindowConfig { window_size: 1000, ..config() }, "series is 1000:"),
            (WindowConfig { window_size: 0, ..config() }, "window_size"),
            (WindowConfig { horizon: 0, ..config() }, "horizon"),
            (WindowConfig { shift: 0, ..config() }, "shift"),
            (WindowConfig { stride: 0, ..config() }, "stride"),
            (WindowConfig { horizon: 462, ..config() }, "461 rows long: expected at least 462 rows"),
            (WindowConfig { horizon: 3, stride: 300, ..config() }, "expected at least 601 rows"),
            (
                WindowConfig { horizon: usize::MAX, ..config() },
                "horizon is 18446744073709551615: expected at most",
            ),
            (WindowConfig { horizon: i64::MAX as usize, stride: 9, ..config() }, "rows for a horizon of"),
        ];
        for (config, expected) in cases {
            let error = module(config.clone()).and_then(|module| module.setup()).unwrap_err().to_string();
            assert!(error.contains(expected), "{config:?}: {error}");
        }
    }
}
