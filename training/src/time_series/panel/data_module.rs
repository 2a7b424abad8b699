//! The data module of many series: one model of all, with splits and scaling per series.

use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use tch::{Device, Kind, Tensor};
use text_recognizer::data::{DataIdentity, DataModule, DataSpec, DataSplits, Dataset, Shuffle};

use super::{Panel, PanelExtras, Statics};
use crate::flags::Auto;
use crate::format::{count, listed};
use crate::time_series::csv::shortened;
use crate::time_series::data_module::{IN_DOUBLE_PRECISION, check_horizon, check_precision};
use crate::time_series::window_config::Lengths;
use crate::time_series::window_dataset::Owners;
use crate::time_series::{
    BaselineConfig, Covariates, Frequency, Layout, Scaler, Series, Target, Units, WindowConfig, WindowDataset,
};

/// A series of a [`PanelDataModule`] with its splits and scaling.
#[derive(Debug)]
pub struct Member {
    /// The series, in its own units.
    pub series: Series,
    /// The scaling, fitted on its training split.
    pub scaler: Scaler,
    /// The rows of its validation split.
    pub validation: Range<usize>,
    /// Its first row among those of all series.
    first: usize,
}

/// Many series with their splits, windows and scaling.
#[derive(Debug)]
pub struct PanelDataModule {
    keys: Vec<String>,
    members: Vec<Member>,
    /// The names of the series that are too short for a window.
    short: Vec<String>,
    config: WindowConfig,
    window_size: usize,
    has_missing: bool,
    baselines: BaselineConfig,
    covariates: Option<Covariates>,
    statics: Statics,
    target: Target,
    notes: Vec<String>,
}

impl PanelDataModule {
    /// Splits each series, fills its gaps, and fits its scaling on its training split. A series that is too short for one window of the
    /// training split, or for one forecast of the validation split, is left out. The season of `baselines` is that of the longest
    /// series if they have none. `target` selects the targets of the training windows.
    ///
    /// # Errors
    /// Fails if a flag is impossible, if all series are too short, or, with the series, if a training split has no value or if single
    /// precision cannot hold the scaled values.
    pub fn new(
        panel: Panel,
        config: WindowConfig,
        baselines: BaselineConfig,
        target: Target,
    ) -> Result<Self> {
        config.validate()?;
        baselines.validate()?;
        ensure!(
            config.end_time.is_none() && !config.refit_on_all,
            "cannot use --end_time or --refit_on_all with many series; try without it, or without --series_column"
        );
        let Panel { keys, statics, series, mut notes } = panel;
        let Some(longest) = series.iter().max_by_key(|series| series.len()) else {
            bail!("found no series, expected at least one");
        };
        let longest_rows = longest.len();
        let baselines = baselines.of(longest);
        let has_known = longest.covariates().is_some_and(|values| values.roles.has_known());
        let mut splits: Vec<usize> = series.iter().map(|series| config.split_time.of(series.len())).collect();
        splits.sort_unstable();
        let least = if has_known { config.horizon } else { 1 };
        let week = longest.timestamps.frequency().and_then(Frequency::week);
        let lengths = Lengths { season: baselines.season, week, least };
        let window_size = config.window_size(splits[splits.len() / 2], lengths);
        config.check_known(window_size, has_known)?;
        if config.window_size == Auto::AUTO {
            notes.push(format!("windows have {} (--window_size)", count(window_size as u64, "time step")));
        }
        let config = WindowConfig { window_size: window_size.into(), ..config };
        ensure!(
            target == Target::AfterWindow || !Scaler::of_scaled(config.scaling, 1).is_per_window(),
            "scaling is by the values of each window, and sequence_loss is set: expected none, standard or minmax, because a time step \
             must not depend on later ones"
        );
        let layout = config.layout(window_size, 1, target);
        let (mut members, mut short, mut first) = (Vec::new(), Vec::new(), 0);
        let mut of_series = Vec::new();
        let mut has_missing = false;
        for series in series {
            let Some(validation) = split(&series, &config, layout) else {
                short.push(series.key);
                continue;
            };
            let key = series.key.clone();
            let in_series = || format!("series {key}");
            check_horizon(&config, validation.len(), series.names.len()).with_context(in_series)?;
            let (member, is_missing) =
                Member::new(series, validation, first, &config, &baselines).with_context(in_series)?;
            first += member.series.len();
            has_missing |= is_missing;
            members.push(member);
        }
        ensure!(
            !members.is_empty(),
            "all {} series are too short: the longest has {}, expected at least {} before the split and {} after it; try a smaller \
             --window_size or --horizon, or another --split_time",
            short.len(),
            count(longest_rows as u64, "row"),
            layout.span(),
            reach(config.horizon, config.stride),
        );
        if !short.is_empty() {
            notes.push(format!(
                "left out {} of {} series, which are too short for a window and its forecast: {}",
                short.len(),
                short.len() + members.len(),
                listed(&short)
            ));
        }
        let training: Vec<_> = members
            .iter()
            .filter_map(|member| Some((member.series.covariates()?, member.validation.start)))
            .collect();
        let covariates = Covariates::fit(&training, config.scaling)?;
        for member in &mut members {
            let Member { series, scaler, .. } = member;
            check_precision(series, scaler, covariates.as_ref())
                .with_context(|| format!("series {}", series.key))?;
            of_series.extend(series.notes.drain(..).map(|note| format!("{}: {note}", series.key)));
        }
        notes.extend(shortened(of_series));
        let statics = Statics::fit(&statics, members.iter().map(|member| &member.series))?;
        Ok(Self {
            keys,
            members,
            short,
            config,
            window_size,
            has_missing,
            baselines,
            covariates,
            statics,
            target,
            notes,
        })
    }

    /// Returns the series that are long enough.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Returns the names of the series that are too short.
    pub fn short(&self) -> &[String] {
        &self.short
    }

    /// Returns the configuration of splits and windows, whose window size is a number.
    pub fn windows(&self) -> &WindowConfig {
        &self.config
    }

    /// Returns the lengths that baselines look back, with the season of the series.
    pub fn baselines(&self) -> &BaselineConfig {
        &self.baselines
    }

    /// Returns what networks get beside the values; `None` if they get nothing.
    pub fn covariates(&self) -> Option<&Covariates> {
        self.covariates.as_ref()
    }

    /// Returns whether a series or a covariate has a missing value.
    pub fn has_missing(&self) -> bool {
        self.has_missing
    }

    /// Returns the notes on the file and on the series.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns what a checkpoint has of the series.
    pub fn extras(&self) -> PanelExtras {
        let scaler = |member: &Member| (member.series.key.clone(), member.scaler.clone());
        PanelExtras {
            keys: self.keys.clone(),
            scalers: self.members.iter().map(scaler).collect(),
            scaling: self.config.scaling,
            statics: self.statics.clone(),
        }
    }

    /// Returns the scaling of values that are scaled by their series already: that of windows.
    pub fn scaler(&self) -> Scaler {
        Scaler::of_scaled(self.config.scaling, self.columns())
    }

    /// Returns the scaling of each series for the metrics of a lit model.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn units(&self) -> text_recognizer::Result<Units> {
        Units::new(self.members.iter().map(|member| (member.first, &member.scaler)))
    }

    /// Returns the static inputs of a member, `[inputs]`.
    ///
    /// # Errors
    /// Fails if a value of a column of numbers is no number.
    pub fn statics(&self, member: &Member) -> Result<Vec<f64>> {
        self.statics.encode(&member.series)
    }

    fn columns(&self) -> usize {
        self.members.first().map_or(0, |member| member.series.names.len())
    }

    /// Returns the scaled inputs and targets of all series, `[rows, ...]`, in single precision, and whether no window may end in a row.
    fn scaled(&self) -> text_recognizer::Result<(Tensor, Tensor, Vec<bool>)> {
        let rows: usize = self.members.iter().map(|member| member.series.len()).sum();
        let empty =
            |columns: usize| Tensor::f_empty([rows as i64, columns as i64], (Kind::Float, Device::Cpu));
        let place = |all: &Tensor, member: &Member, values: &Tensor| -> text_recognizer::Result<()> {
            all.f_narrow(0, member.first as i64, values.size()[0])?.f_copy_(values)?;
            Ok(())
        };
        let lead = self.config.horizon.saturating_mul(self.config.stride);
        let targets = empty(self.columns())?;
        let mut looks_ahead = Vec::with_capacity(rows);
        for member in &self.members {
            place(&targets, member, &member.scaler.transform(&member.series.values)?)?;
            looks_ahead.extend((0..member.series.len()).map(|row| member.series.looks_ahead(row, lead)));
        }
        let is_same = |member: &Member| member.series.inputs().data_ptr() == member.series.values.data_ptr();
        if self.covariates.is_none() && self.members.iter().all(is_same) {
            return Ok((targets.shallow_clone(), targets, looks_ahead));
        }
        let others = self.covariates.as_ref().map_or(0, |covariates| covariates.roles.inputs());
        let inputs = empty(self.columns() + others)?;
        for member in &self.members {
            let mut own = member.scaler.transform(member.series.inputs())?;
            if let (Some(covariates), Some(values)) = (&self.covariates, member.series.covariates()) {
                own = covariates.inputs(&own, values, 0..member.series.len(), lead)?;
            }
            place(&inputs, member, &own)?;
        }
        Ok((inputs, targets, looks_ahead))
    }

    /// Returns which row of all series is the first of each, and the static inputs of each.
    fn owners(&self) -> text_recognizer::Result<Owners> {
        let firsts: Vec<i64> = self.members.iter().map(|member| member.first as i64).collect();
        let mut statics: Vec<f32> = Vec::new();
        for member in &self.members {
            let inputs = self.statics(member).map_err(|error| {
                text_recognizer::Error::invalid("static_covariates", error, "values of one kind")
            })?;
            statics.extend(inputs.into_iter().map(|input| input as f32));
        }
        let size = [self.members.len() as i64, self.statics.inputs() as i64];
        Ok(Owners {
            firsts: Tensor::f_from_slice(&firsts)?,
            statics: Tensor::f_from_slice(&statics)?.f_view(size)?,
        })
    }
}

impl Member {
    /// Fits the scaling of a series and fills its gaps. Also returns whether it has missing values.
    fn new(
        mut series: Series,
        validation: Range<usize>,
        first: usize,
        config: &WindowConfig,
        baselines: &BaselineConfig,
    ) -> text_recognizer::Result<(Self, bool)> {
        let training = series.values.f_narrow(0, 0, validation.start as i64)?;
        let scaler = Scaler::fit(config.scaling, &training)?;
        let of_covariates = series.covariates().map_or(Ok(0), |values| values.missing(series.len()))?;
        let is_missing = of_covariates > 0 || series.missing()? > 0;
        series.fill(config.fill, baselines.season, &[validation.start, validation.end])?;
        Ok((Self { series, scaler, validation, first }, is_missing))
    }

    /// Returns rows of this series among those of all.
    fn rows(&self, rows: Range<usize>) -> Range<usize> {
        self.first + rows.start..self.first + rows.end
    }
}

/// Returns the rows of the validation split of a series; `None` if it is too short for a window of the training split or for a forecast
/// of the validation split.
fn split(series: &Series, config: &WindowConfig, layout: Layout) -> Option<Range<usize>> {
    let rows = series.len();
    let start = config.split_time.of(rows);
    let end = config.test_time.map_or(rows, |point| point.of(rows));
    let fits = start >= layout.span()
        && end <= rows
        && end >= start.checked_add(reach(config.horizon, config.stride))?;
    fits.then_some(start..end)
}

/// Returns the rows from the first to the last step of a horizon.
fn reach(horizon: usize, stride: usize) -> usize {
    (horizon - 1).saturating_mul(stride).saturating_add(1)
}

impl DataModule for PanelDataModule {
    fn spec(&self) -> DataSpec {
        let columns = self.columns();
        let others = self.covariates.as_ref().map_or(0, |covariates| covariates.roles.inputs());
        DataSpec {
            input_dims: vec![self.window_size as i64, (columns + others + self.statics.inputs()) as i64],
            output_dims: vec![self.config.horizon as i64, columns as i64],
            mapping: self.members.first().map_or(Vec::new(), |member| member.series.names.clone()),
            image: None,
        }
    }

    fn prepare_data(&self) -> text_recognizer::Result<()> {
        Ok(())
    }

    fn setup(&self) -> text_recognizer::Result<DataSplits> {
        let (inputs, targets, looks_ahead) = self.scaled()?;
        let reach = self.window_size.saturating_mul(self.config.stride);
        let dataset = |name: &str, shift: usize, rows: &dyn Fn(&Member) -> Range<usize>| {
            let ranges: Vec<Range<usize>> =
                self.members.iter().map(|member| member.rows(rows(member))).collect();
            let layout = self.config.layout(self.window_size, shift, self.target);
            let (windows, left_out) =
                WindowDataset::of_many(&inputs, &targets, &looks_ahead, layout, &ranges, self.owners()?)?;
            if left_out > 0 {
                let all = windows.len() + left_out;
                log::info!("left out {left_out} of {all} {name} windows: they have missing values (--fill)");
            }
            let windows: Box<dyn Dataset> = Box::new(windows);
            Ok::<_, text_recognizer::Error>(windows)
        };
        let train = dataset("training", self.config.shift, &|member| 0..member.validation.start)?;
        let before = |start: usize| start.saturating_sub(reach);
        let val = dataset("validation", 1, &|member| before(member.validation.start)..member.validation.end)?;
        let test = self
            .config
            .test_time
            .map(|_| dataset("test", 1, &|member| before(member.validation.end)..member.series.len()));
        Ok(DataSplits { train, val, test: test.transpose()? })
    }

    fn identity(&self) -> text_recognizer::Result<Option<DataIdentity>> {
        let mut names = self.keys.clone();
        if let Some(member) = self.members.first() {
            names.extend(member.series.column_names());
            names.extend(self.statics.names());
        }
        let blocks = self.members.iter().flat_map(|member| {
            let texts = std::iter::once(&member.series.key).chain(&member.series.statics);
            let texts = texts.flat_map(|text| text.bytes().chain([0])).collect::<Vec<u8>>();
            std::iter::once(Ok(texts)).chain(member.series.bytes())
        });
        let rows: usize = self.members.iter().map(|member| member.series.len()).sum();
        let identity = DataIdentity::of(rows as u64, &names, blocks)?;
        Ok(Some(identity.with_digest(IN_DOUBLE_PRECISION)))
    }

    fn shuffle(&self, seed: u64) -> Shuffle {
        self.config.shuffle(seed)
    }
}
