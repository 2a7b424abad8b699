//! The data module of a series: splits, windows and scaling.

use std::ops::Range;

use tch::{Device, Kind, Tensor};
use text_recognizer::data::{DataIdentity, DataModule, DataSpec, DataSplits, Dataset, Shuffle};
use text_recognizer::{Error, Result};

use super::window_config::{ShuffleBuffer, WindowConfig};
use super::{BaselineConfig, Layout, Scaler, Series, Target, WindowDataset};
use crate::flags::Auto;
use crate::format::{count, listed};

/// The most forecasts of a validation split, over all rows, columns and steps ahead: 2 GiB of values.
const MAX_FORECASTS: usize = 1 << 28;

/// A series with its splits, windows and scaling.
#[derive(Debug)]
pub struct SeriesDataModule {
    series: Series,
    config: WindowConfig,
    window_size: usize,
    /// Whether the series decided the size of the windows.
    chosen: bool,
    baselines: BaselineConfig,
    scaler: Scaler,
    /// The rows of the validation split.
    validation: Range<usize>,
    target: Target,
}

impl SeriesDataModule {
    /// Splits `series`, `[rows, columns]`, fills its gaps, and fits the scaling on the training split. The season of `baselines` is
    /// the season of `series` if they have none. `target` selects the targets of the training windows.
    ///
    /// # Errors
    /// Fails if a size is 0, if the training split is empty, if the validation split is shorter than the horizon, if `split_time`
    /// or `test_time` is outside of the series, or if single precision cannot hold the scaled values.
    pub fn new(
        mut series: Series,
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
        let baselines = baselines.of(&series);
        let window_size = config.window_size(split, baselines.season);
        let chosen = config.window_size == Auto::AUTO;
        let config = WindowConfig { window_size: window_size.into(), ..config };
        let training = series.values.f_narrow(0, 0, split as i64)?;
        let scaler = Scaler::fit(config.scaling, &training)?;
        if scaler.is_per_window() && target == Target::EachStep {
            let found = "by the values of each window, and sequence_loss is set";
            let expected = "none, standard or minmax, because a time step must not depend on later ones";
            return Err(Error::invalid("scaling", found, expected));
        }
        series.fill(config.fill, baselines.season, &[split, end])?;
        check_precision(&mut series, &scaler)?;
        Ok(Self { series, config, window_size, chosen, baselines, scaler, validation: split..end, target })
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

    /// Returns the configuration of splits and windows, whose window size is a number.
    pub fn windows(&self) -> &WindowConfig {
        &self.config
    }

    /// Returns the time steps of a window.
    pub fn window_size(&self) -> usize {
        self.window_size
    }

    /// Returns the lengths that baselines look back, with the season of the series.
    pub fn baselines(&self) -> &BaselineConfig {
        &self.baselines
    }

    fn layout(&self, shift: usize) -> Layout {
        let WindowConfig { horizon, stride, .. } = self.config;
        Layout {
            window_size: self.window_size,
            horizon,
            shift,
            stride,
            sequence: self.target == Target::EachStep,
        }
    }

    /// Returns whether the series has a missing value.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn has_missing(&self) -> Result<bool> {
        Ok(self.series.missing()? > 0)
    }

    /// Returns how many rows of the validation split the first `windows` windows forecast at one step ahead, with the rows between
    /// them whose windows are left out.
    ///
    /// # Errors
    /// Fails if there are fewer windows.
    pub fn rows_of(&self, windows: usize) -> Result<usize> {
        let Range { start, end } = self.validation;
        match windows.checked_sub(1) {
            _ if !self.has_missing()? => Ok(windows),
            Some(last) => Ok(self.forecasts(&self.scaled()?, start, end)?.index(last)? + 1),
            None => Ok(0),
        }
    }

    /// Returns the scaled inputs and targets, in single precision. They are rounded after the scaling, which keeps the digits of
    /// values that are large and close to each other.
    fn scaled(&self) -> Result<Scaled> {
        let scaled = |values: &Tensor| -> Result<Tensor> {
            Ok(self.scaler.transform(values)?.f_to_kind(Kind::Float)?)
        };
        let targets = scaled(&self.series.values)?;
        let same = self.series.inputs().data_ptr() == self.series.values.data_ptr();
        let inputs = if same { targets.shallow_clone() } else { scaled(self.series.inputs())? };
        Ok(Scaled { inputs, targets })
    }

    /// Returns windows whose targets are the rows `from..to`. Their inputs may be rows before `from`, so that each row has a
    /// forecast.
    fn forecasts(&self, scaled: &Scaled, from: usize, to: usize) -> Result<WindowDataset> {
        let reach = self.window_size.saturating_mul(self.config.stride);
        let start = from.checked_sub(reach).ok_or_else(|| {
            let expected = format!("at most {from}, the number of rows before the split");
            Error::invalid("window_size", format!("{reach} rows long"), expected)
        })?;
        scaled.windows(start..to, self.layout(1))
    }
}

/// The scaled values of a series, `[rows, columns]`.
struct Scaled {
    /// With filled gaps.
    inputs: Tensor,
    /// With NaN for missing values.
    targets: Tensor,
}

impl Scaled {
    fn windows(&self, rows: Range<usize>, layout: Layout) -> Result<WindowDataset> {
        let part = |values: &Tensor| values.f_narrow(0, rows.start as i64, rows.len() as i64);
        WindowDataset::complete(&part(&self.inputs)?, &part(&self.targets)?, layout)
    }
}

/// Adds a note for each column whose scaled values lose digits that matter in single precision: its rounding error is above 0.1 %
/// of the mean change from row to row.
///
/// # Errors
/// Fails if a scaled value is too large for single precision.
fn check_precision(series: &mut Series, scaler: &Scaler) -> Result<()> {
    let zeros = || Tensor::f_zeros([series.names.len() as i64], (Kind::Double, Device::Cpu));
    // The largest absolute value of each column, and the sum and the number of the changes from row to row.
    let (mut largest, mut sums, mut counts) = (zeros()?, zeros()?, zeros()?);
    for Range { start, end } in series.blocks() {
        let start = start.saturating_sub(1);
        let scaled = scaler.transform(&series.values.f_narrow(0, start as i64, (end - start) as i64)?)?;
        let present = scaled.f_abs()?.f_nan_to_num(0.0, None, None)?;
        largest = largest.f_maximum(&present.f_amax(0, false)?)?;
        let changes = scaled.f_diff::<Tensor>(1, 0, None, None)?.f_abs()?;
        counts = counts.f_add(&changes.f_isfinite()?.f_sum_dim_intlist(0, false, Kind::Double)?)?;
        sums = sums.f_add(&changes.f_nansum(0, false, Kind::Double)?)?;
    }
    let (largest, changes): (Vec<f64>, Vec<f64>) = (largest.try_into()?, sums.f_div(&counts)?.try_into()?);
    let mut rounded = Vec::new();
    for ((name, largest), change) in series.names.iter().zip(largest).zip(changes) {
        if largest > f64::from(f32::MAX) {
            let expected = format!(
                "at most {:e}, the largest number of single precision; try --scaling standard",
                f32::MAX
            );
            return Err(Error::invalid(format!("the largest value of column {name}"), largest, expected));
        }
        if largest * f64::from(f32::EPSILON) > 2e-3 * change {
            rounded.push(name.clone());
        }
    }
    if !rounded.is_empty() {
        series.notes.push(format!(
            "networks get rounded values of {}: single precision has 7 digits (try --scaling standard)",
            listed(&rounded)
        ));
    }
    Ok(())
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
            input_dims: vec![self.window_size as i64, columns],
            output_dims: vec![self.config.horizon as i64, columns],
            mapping: self.series.names.clone(),
            image: None,
        }
    }

    fn prepare_data(&self) -> Result<()> {
        Ok(())
    }

    fn setup(&self) -> Result<DataSplits> {
        if self.chosen {
            let season =
                self.baselines.season.map_or_else(String::new, |rows| format!(" (a season is {rows} rows)"));
            log::info!(
                "windows of {}{season}; --window_size changes it",
                count(self.window_size as u64, "time step")
            );
        }
        let scaled = self.scaled()?;
        let Range { start: split, end } = self.validation;
        let rows = self.series.len();
        let train = scaled.windows(0..split, self.layout(self.config.shift))?;
        let val = self.forecasts(&scaled, split, end)?;
        let test = (end < rows).then(|| self.forecasts(&scaled, end, rows)).transpose()?;
        for (split, windows) in
            [("training", Some(&train)), ("validation", Some(&val)), ("test", test.as_ref())]
        {
            let Some(windows) = windows.filter(|windows| windows.left_out() > 0) else { continue };
            let all = windows.left_out() + windows.len();
            log::info!(
                "left out {} of {all} {split} windows: they have missing values (--fill)",
                windows.left_out()
            );
        }
        let test = test.map(|test| -> Box<dyn Dataset> { Box::new(test) });
        Ok(DataSplits { train: Box::new(train), val: Box::new(val), test })
    }

    fn identity(&self) -> Result<Option<DataIdentity>> {
        let Series { timestamps, names, named, values, .. } = &self.series;
        // Names that were made up for a file without a header contain the name of the file.
        let names = if *named { &names[..] } else { &[] };
        let bytes = |numbers: Vec<f64>| numbers.into_iter().flat_map(f64::to_le_bytes).collect::<Vec<u8>>();
        let times = self.series.blocks().map(|rows| bytes(timestamps.numbers_of(rows)));
        let values = self.series.blocks().map(|rows| {
            let rows = values.f_narrow(0, rows.start as i64, rows.len() as i64)?;
            Ok(bytes(Vec::try_from(rows.f_contiguous()?.f_view(-1)?)?))
        });
        DataIdentity::of(self.series.len() as u64, names, times.map(Ok).chain(values)).map(Some)
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
    use crate::time_series::{Fill, Scaling, SplitPoint, SyntheticConfig, Timestamps, synthetic};

    fn config() -> WindowConfig {
        WindowConfig {
            split_time: SplitPoint::Row(1000),
            test_time: None,
            window_size: 20.into(),
            horizon: 1,
            shift: 1,
            stride: 1,
            shuffle_buffer: ShuffleBuffer::Size(1000),
            reshuffle_each_iteration: true,
            scaling: Scaling::None,
            fill: Fill::None,
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

    /// Returns a module over 40 rows with gaps at the rows 10, 20, 21 and 33, split at row 30.
    fn with_gaps(fill: Fill) -> SeriesDataModule {
        let gaps = [10, 20, 21, 33];
        let values: Vec<f64> =
            (0..40).map(|t| if gaps.contains(&t) { f64::NAN } else { f64::from(t) }).collect();
        let values = Tensor::from_slice(&values).view([-1, 1]);
        let series = Series::new(Timestamps::counted(40), vec!["v".into()], true, values).unwrap();
        let config =
            WindowConfig { split_time: SplitPoint::Row(30), window_size: 5.into(), fill, ..config() };
        SeriesDataModule::new(series, config, BaselineConfig::default(), Target::AfterWindow).unwrap()
    }

    #[test]
    fn windows_of_a_series_with_gaps_are_complete_and_their_targets_are_not_filled() {
        for (fill, train, val) in [(Fill::None, 25 - 6 - 7, 10 - 6), (Fill::Forward, 25 - 3, 10 - 1)] {
            let module = with_gaps(fill);
            let splits = module.setup().unwrap();
            assert_eq!((splits.train.len(), splits.val.len()), (train, val), "{fill:?}");
            for split in [splits.train, splits.val] {
                let (x, y) = split.slice(0, split.len() as i64).unwrap();
                let missing = |x: &Tensor| x.isnan().sum(Kind::Int64).int64_value(&[]);
                assert_eq!((missing(&x), missing(&y)), (0, 0), "{fill:?}");
            }
            assert!(module.has_missing().unwrap());
            assert_eq!(module.series().notes.len(), 1);
        }
        // The rows 30 to 32 come before the gap at row 33; the windows of the rows 33 to 38 are left out.
        let module = with_gaps(Fill::None);
        assert_eq!([0, 1, 3, 4].map(|windows| module.rows_of(windows).unwrap()), [0, 1, 3, 10]);
    }

    #[test]
    fn new_with_values_beyond_single_precision_is_a_note_or_an_error() {
        let module = |values: &[f64], scaling| {
            let values = Tensor::from_slice(values).view([-1, 1]);
            let series = Series::new(Timestamps::counted(40), vec!["id".into()], true, values).unwrap();
            let config =
                WindowConfig { split_time: SplitPoint::Row(30), window_size: 5.into(), scaling, ..config() };
            SeriesDataModule::new(series, config, BaselineConfig::default(), Target::AfterWindow)
        };
        let counter: Vec<f64> = (0..40).map(|t| 1e8 + f64::from(t)).collect();
        let noted = module(&counter, Scaling::None).unwrap();
        assert!(noted.series().notes[0].contains("rounded values of id"), "{:?}", noted.series().notes);
        let scaled = module(&counter, Scaling::Standard).unwrap();
        assert!(scaled.series().notes.is_empty());
        let (x, _) = scaled.setup().unwrap().train.slice(0, 1).unwrap();
        let steps =
            Vec::<f64>::try_from(x.to_kind(Kind::Double).diff::<Tensor>(1, 1, None, None).view(-1)).unwrap();
        assert!(steps.iter().all(|step| (step - steps[0]).abs() < 1e-6), "{steps:?}");
        let huge: Vec<f64> = (0..40).map(|t| 1e300 * f64::from(t)).collect();
        let error = module(&huge, Scaling::None).unwrap_err().to_string();
        assert!(error.contains("column id is 39") && error.contains("--scaling standard"), "{error}");
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
            (WindowConfig { window_size: 1000.into(), ..config() }, "series is 1000:"),
            (WindowConfig { window_size: 0.into(), ..config() }, "window_size"),
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
