//! The data module of a series: splits, windows and scaling.

use std::ops::Range;

use tch::{Kind, Tensor};
use text_recognizer::data::{DataIdentity, DataModule, DataSpec, DataSplits, Dataset, Shuffle};
use text_recognizer::{Error, Result};

use super::window_config::{Lengths, SplitPoint, WindowConfig};
use super::{BaselineConfig, Covariates, Frequency, Layout, Scaler, Series, Target, WindowDataset};
use crate::flags::Auto;
use crate::format::count;

mod precision;

pub(super) use precision::check_precision;

/// The most forecasts of a validation split, over all rows, columns and steps ahead: 2 GiB of values.
const MAX_FORECASTS: usize = 1 << 28;

/// The digest of a series: its timestamps and values in double precision. Earlier versions hashed labels and single precision.
pub(super) const IN_DOUBLE_PRECISION: u32 = 1;

/// A series with its splits, windows and scaling.
#[derive(Debug)]
pub struct SeriesDataModule {
    series: Series,
    config: WindowConfig,
    window_size: usize,
    /// Whether the series or a covariate has a missing value.
    has_missing: bool,
    baselines: BaselineConfig,
    /// The scaling of the values.
    scaler: Scaler,
    /// The number of rows of the training split.
    training: usize,
    /// The inputs of networks beside the values.
    covariates: Option<Covariates>,
    /// The rows of the validation split.
    validation: Range<usize>,
    target: Target,
}

impl SeriesDataModule {
    /// Splits `series`, `[rows, columns]`, fills its gaps, and fits the scaling of values and covariates on the training split. The
    /// season of `baselines` is the season of `series` if they have none. `target` selects the targets of the training windows.
    ///
    /// # Errors
    /// Fails if a size is 0, if the training split is empty, if the validation split is shorter than the horizon, if `split_time`
    /// or `test_time` is outside of the series, if a window is shorter than the horizon and has inputs that are known beforehand, or if
    /// single precision cannot hold the scaled values.
    pub fn new(
        mut series: Series,
        config: WindowConfig,
        baselines: BaselineConfig,
        target: Target,
    ) -> Result<Self> {
        config.validate()?;
        baselines.validate()?;
        if let Some(end) = config.end_time {
            series = before(series, end)?;
        }
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
        let has_known = series.covariates().is_some_and(|values| values.roles.has_known());
        let week = series.timestamps.frequency().and_then(Frequency::week);
        let least = if has_known { config.horizon } else { 1 };
        let window_size = config.window_size(split, Lengths { season: baselines.season, week, least });
        config.check_known(window_size, has_known)?;
        if config.window_size == Auto::AUTO {
            let season =
                baselines.season.map_or_else(String::new, |rows| format!(" (a season is {rows} rows)"));
            let steps = count(window_size as u64, "time step");
            series.notes.push(format!("windows have {steps}{season} (--window_size)"));
        }
        let config = WindowConfig { window_size: window_size.into(), ..config };
        let training = series.values.f_narrow(0, 0, split as i64)?;
        let scaler = Scaler::fit(config.scaling, &training)?;
        if scaler.is_per_window() && target == Target::EachStep {
            let found = "by the values of each window, and sequence_loss is set";
            let expected = "none, standard or minmax, because a time step must not depend on later ones";
            return Err(Error::invalid("scaling", found, expected));
        }
        let values = series.covariates();
        let training: Vec<_> = values.iter().map(|values| (*values, split)).collect();
        let covariates = Covariates::fit(&training, config.scaling)?;
        let missing_covariates = values.map_or(Ok(0), |values| values.missing(rows))?;
        let has_missing = missing_covariates > 0 || series.missing()? > 0;
        series.fill(config.fill, baselines.season, &[split, end])?;
        check_precision(&mut series, &scaler, covariates.as_ref())?;
        Ok(Self {
            series,
            config,
            window_size,
            has_missing,
            baselines,
            scaler,
            training: split,
            covariates,
            validation: split..end,
            target,
        })
    }

    /// Returns the same data with all rows in the training split, and scaling and filled gaps of all rows. Its validation split is
    /// then no measure.
    ///
    /// # Errors
    /// Fails if single precision cannot hold the scaled values.
    pub fn on_all_rows(&self) -> Result<Self> {
        let rows = self.series.len();
        let mut series = self.series.head(rows)?;
        let scaler = Scaler::fit(self.config.scaling, &series.values)?;
        let values = series.covariates();
        let training: Vec<_> = values.iter().map(|values| (*values, rows)).collect();
        let covariates = Covariates::fit(&training, self.config.scaling)?;
        series.fill(self.config.fill, self.baselines.season, &[])?;
        check_precision(&mut series, &scaler, covariates.as_ref())?;
        Ok(Self {
            series,
            config: self.config.clone(),
            window_size: self.window_size,
            has_missing: self.has_missing,
            baselines: self.baselines.clone(),
            scaler,
            covariates,
            training: rows,
            validation: self.validation.clone(),
            target: self.target,
        })
    }

    /// Returns the series in its own units, without scaling.
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// Returns the scaling, fitted on the training split.
    pub fn scaler(&self) -> &Scaler {
        &self.scaler
    }

    /// Returns what networks get beside the values; `None` if they get nothing.
    pub fn covariates(&self) -> Option<&Covariates> {
        self.covariates.as_ref()
    }

    /// Returns the rows of the validation split.
    pub fn validation(&self) -> Range<usize> {
        self.validation.clone()
    }

    /// Returns the rows of the test split; `None` if there is none.
    pub fn test(&self) -> Option<Range<usize>> {
        let rows = self.validation.end..self.series.len();
        (!rows.is_empty()).then_some(rows)
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
        self.config.layout(self.window_size, shift, self.target)
    }

    /// Returns whether the series or a covariate has a missing value.
    pub fn has_missing(&self) -> bool {
        self.has_missing
    }

    /// Returns how many rows of a split, `rows`, its first `windows` windows forecast at one step ahead, with the rows between them
    /// whose windows are left out. All windows forecast all rows.
    ///
    /// # Errors
    /// Fails if there are fewer windows.
    pub fn rows_of(&self, rows: &Range<usize>, windows: usize) -> Result<usize> {
        if !self.has_missing || windows == 0 {
            return Ok(windows);
        }
        let all = self.forecasts(&self.scaled()?, rows.start, rows.end)?;
        Ok(if windows == all.len() { all.len() + all.left_out() } else { all.index(windows - 1)? + 1 })
    }

    /// Returns the scaled inputs and targets, in single precision. They are rounded after the scaling, which keeps the digits of
    /// values that are large and close to each other.
    fn scaled(&self) -> Result<Scaled> {
        let scaled = |values: &Tensor| -> Result<Tensor> {
            Ok(self.scaler.transform(values)?.f_to_kind(Kind::Float)?)
        };
        let targets = scaled(&self.series.values)?;
        let same = self.series.inputs().data_ptr() == self.series.values.data_ptr();
        let mut inputs = if same { targets.shallow_clone() } else { scaled(self.series.inputs())? };
        let (rows, lead) = (self.series.len(), self.lead());
        if let (Some(covariates), Some(values)) = (&self.covariates, self.series.covariates()) {
            inputs = covariates.inputs(&inputs, values, 0..rows, lead)?;
        }
        let looks_ahead = (0..rows).map(|row| self.series.looks_ahead(row, lead)).collect();
        Ok(Scaled { inputs, targets, looks_ahead })
    }

    /// Returns how many rows later the inputs are that are known beforehand: the rows of the horizon.
    fn lead(&self) -> usize {
        self.config.horizon.saturating_mul(self.config.stride)
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

/// Returns the rows of `series` before `end`.
fn before(series: Series, end: SplitPoint) -> Result<Series> {
    let (all, rows) = (series.len(), end.of(series.len()));
    if !(1..=all).contains(&rows) {
        return Err(Error::invalid("end_time", rows, format!("between 1 and {all}, the rows of the series")));
    }
    let mut head = series.head(rows)?;
    head.notes = series.notes;
    if rows < all {
        head.notes.push(format!("left out the last {} (--end_time)", count((all - rows) as u64, "row")));
    }
    Ok(head)
}

/// The scaled values of a series.
struct Scaled {
    /// The inputs of a network, `[rows, inputs]`: the values with filled gaps, and the covariates.
    inputs: Tensor,
    /// The values, `[rows, columns]`, with NaN for missing ones.
    targets: Tensor,
    /// Whether no window may end in a row; see [`Series::looks_ahead`].
    looks_ahead: Vec<bool>,
}

impl Scaled {
    fn windows(&self, rows: Range<usize>, layout: Layout) -> Result<WindowDataset> {
        let part = |values: &Tensor| values.f_narrow(0, rows.start as i64, rows.len() as i64);
        let looks_ahead = self.looks_ahead.get(rows.clone()).unwrap_or_default();
        WindowDataset::complete(&part(&self.inputs)?, &part(&self.targets)?, looks_ahead, layout)
    }
}

/// Checks that a validation split of `rows` rows contains the steps of one forecast, and that memory can contain all forecasts.
pub(super) fn check_horizon(config: &WindowConfig, rows: usize, columns: usize) -> Result<()> {
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
        let others = self.covariates.as_ref().map_or(0, |covariates| covariates.roles.inputs());
        DataSpec {
            input_dims: vec![self.window_size as i64, columns + others as i64],
            output_dims: vec![self.config.horizon as i64, columns],
            mapping: self.series.names.clone(),
            image: None,
        }
    }

    fn prepare_data(&self) -> Result<()> {
        Ok(())
    }

    fn setup(&self) -> Result<DataSplits> {
        let scaled = self.scaled()?;
        let Range { start, end } = self.validation;
        let train = scaled.windows(0..self.training, self.layout(self.config.shift))?;
        let val = self.forecasts(&scaled, start, end)?;
        let test = self.test().map(|rows| self.forecasts(&scaled, rows.start, rows.end)).transpose()?;
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
        let identity =
            DataIdentity::of(self.series.len() as u64, &self.series.column_names(), self.series.bytes())?;
        Ok(Some(identity.with_digest(IN_DOUBLE_PRECISION)))
    }

    fn shuffle(&self, seed: u64) -> Shuffle {
        self.config.shuffle(seed)
    }
}

#[cfg(test)]
mod tests;
