//! Datasets of windows over a series and their targets. All windows are views of one tensor.

use std::ops::Range;

use tch::{Device, Kind, Tensor};
use text_recognizer::data::Dataset;
use text_recognizer::{Error, Result};

/// The positions of windows and their targets in a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Time steps in a window.
    pub window_size: usize,
    /// Time steps in the target, which follows the window.
    pub horizon: usize,
    /// Rows from the start of one window to the start of the next.
    pub shift: usize,
    /// Rows from one time step of a window to the next.
    pub stride: usize,
    /// Whether the target is the next value at each time step of the window, `[window_size]`, instead of `[horizon]`.
    pub sequence: bool,
}

impl Layout {
    /// Returns the rows that a window and its target span; `usize::MAX` if the number overflows.
    pub fn span(self) -> usize {
        let values = self.window_size.saturating_add(self.horizon);
        values.saturating_sub(1).saturating_mul(self.stride).saturating_add(1)
    }
}

/// A dataset of windows and their targets: `x: [batch, window_size, features]` and `y: [batch, horizon, targets]`, or
/// `y: [batch, window_size, targets]` if the layout has `sequence`.
#[derive(Debug)]
pub struct WindowDataset {
    inputs: Tensor,
    targets: Tensor,
    layout: Layout,
    /// The windows, `[windows, window_size, features]`, a view of the inputs.
    x: Tensor,
    /// The targets, `[windows, horizon or window_size, targets]`, a view of the targets.
    y: Tensor,
    /// The indices of the windows in use, `[windows in use]`; `None` for all.
    used: Option<Tensor>,
    /// The series that the rows belong to; `None` for one series.
    owners: Option<Owners>,
}

/// The series of the rows of a dataset of many series, one after the other.
#[derive(Debug)]
pub struct Owners {
    /// The first row of each series, `[series]`, int64.
    pub firsts: Tensor,
    /// The inputs that are the same in all rows of a series, `[series, inputs]`.
    pub statics: Tensor,
}

impl Owners {
    /// Returns `x` with the inputs of the series of each window, whose first rows are `windows`.
    fn join(&self, x: Tensor, windows: &Tensor) -> Result<Tensor> {
        let statics = self.statics.size()[1];
        if statics == 0 {
            return Ok(x);
        }
        let series = windows.f_bucketize(&self.firsts, false, true)? - 1;
        let size = [x.size()[0], x.size()[1], statics];
        let own = self.statics.f_index_select(0, &series)?.f_unsqueeze(1)?.f_expand(size, false)?;
        Ok(Tensor::f_cat(&[x, own], 2)?)
    }
}

impl WindowDataset {
    /// Makes the windows over `series`, `[time, features]`, without a copy.
    ///
    /// # Errors
    /// Fails if the series is shorter than one window and its target, if a size is 0, if `series` has another shape, or if
    /// `sequence` is set and the horizon is not 1.
    pub fn new(series: &Tensor, layout: Layout) -> Result<Self> {
        Self::of(series.shallow_clone(), series.shallow_clone(), layout)
    }

    /// Makes the windows over `inputs`, `[time, features]`, whose targets are in `targets`, `[time, targets]`. Leaves out the windows that have
    /// a missing input (NaN) or no target, and those that end in a row of `looks_ahead`, which has a flag per row or is empty. A target
    /// may have missing values.
    ///
    /// # Errors
    /// Fails like [`WindowDataset::new`], and if no window is left.
    pub fn complete(inputs: &Tensor, targets: &Tensor, looks_ahead: &[bool], layout: Layout) -> Result<Self> {
        if inputs.size().first() != targets.size().first() || targets.dim() != 2 {
            let expected = format!("[time, targets] with the rows of the inputs, {:?}", inputs.size());
            return Err(Error::shape("WindowDataset", expected, &targets.size()));
        }
        let mut dataset = Self::of(inputs.shallow_clone(), targets.shallow_clone(), layout)?;
        let windows = dataset.x.size()[0] as usize;
        if let Some(is_complete) = complete(inputs, targets, looks_ahead, layout)? {
            let used =
                indices((0..windows).filter(|window| is_complete(window.saturating_mul(layout.shift))))?;
            dataset.used = Some(used).filter(|used| (used.size()[0] as usize) < windows);
        }
        dataset.checked()
    }

    /// Makes the windows of many series, whose rows are one after the other in `inputs` and `targets`, like
    /// [`WindowDataset::complete`]. A window and its target lie in one of `ranges` of rows. Also returns the number of windows that were
    /// left out.
    ///
    /// # Errors
    /// Fails like [`WindowDataset::complete`].
    pub fn of_many(
        inputs: &Tensor,
        targets: &Tensor,
        looks_ahead: &[bool],
        layout: Layout,
        ranges: &[Range<usize>],
        owners: Owners,
    ) -> Result<(Self, usize)> {
        let Layout { shift, .. } = layout;
        let layout = Layout { shift: 1, ..layout };
        let mut dataset = Self::of(inputs.shallow_clone(), targets.shallow_clone(), layout)?;
        let starts = |range: &Range<usize>| {
            let last = range.end.checked_sub(layout.span()).filter(|last| *last >= range.start);
            last.into_iter().flat_map({
                let start = range.start;
                move |last| (start..=last).step_by(shift)
            })
        };
        let all: usize = ranges.iter().map(|range| starts(range).count()).sum();
        let starts = ranges.iter().flat_map(starts);
        let used = match complete(inputs, targets, looks_ahead, layout)? {
            Some(is_complete) => indices(starts.filter(|&start| is_complete(start)))?,
            None => indices(starts)?,
        };
        let left_out = all - used.size()[0] as usize;
        dataset.used = Some(used);
        dataset.owners = Some(owners);
        Ok((dataset.checked()?, left_out))
    }

    fn checked(self) -> Result<Self> {
        if self.is_empty() {
            let expected = "at least 1; try --fill forward, a smaller --window_size or a smaller --stride";
            return Err(Error::invalid("the number of windows without a missing value", 0, expected));
        }
        Ok(self)
    }

    fn of(inputs: Tensor, targets: Tensor, layout: Layout) -> Result<Self> {
        let Layout { window_size, horizon, shift, stride, sequence } = layout;
        for (name, value) in
            [("window_size", window_size), ("horizon", horizon), ("shift", shift), ("stride", stride)]
        {
            if value == 0 {
                return Err(Error::invalid(name, value, "at least 1"));
            }
        }
        if sequence && horizon != 1 {
            return Err(Error::invalid(
                "horizon",
                horizon,
                "1 with sequence_loss, because its target is one value per time step",
            ));
        }
        let [length, _] = inputs.size()[..] else {
            return Err(Error::shape("WindowDataset", "[time, features]", &inputs.size()));
        };
        let span = layout.span();
        if (length as usize) < span {
            let expected = format!(
                "at least {span} for a window of {window_size}, a horizon of {horizon} and a stride of {stride}; try another \
                 split_time or test_time, or a smaller window_size"
            );
            return Err(Error::invalid("the length of a split of the series", length, expected));
        }
        // A larger shift gives the same single window, and all numbers below fit in i64.
        let (shift, stride) = (shift.min(length as usize) as i64, stride as i64);
        let count = (length - span as i64) / shift + 1;
        let view = |series: &Tensor, first: i64, steps: usize| {
            let (row, column) = (series.stride()[0], series.stride()[1]);
            let size = [count, steps as i64, series.size()[1]];
            let offset = series.storage_offset() + first * stride * row;
            series.f_as_strided(size, [shift * row, stride * row, column], offset)
        };
        let x = view(&inputs, 0, window_size)?;
        let (first, steps) = if sequence { (1, window_size) } else { (window_size as i64, horizon) };
        let y = view(&targets, first, steps)?;
        Ok(Self { inputs, targets, layout, x, y, used: None, owners: None })
    }

    /// Returns the number of windows that were left out because of missing values.
    pub fn left_out(&self) -> usize {
        self.x.size()[0] as usize - self.len()
    }

    /// Returns the index of the window at `position`, counted over the windows that were left out too.
    ///
    /// # Errors
    /// Fails if there are fewer windows.
    pub fn index(&self, position: usize) -> Result<usize> {
        match &self.used {
            Some(used) => Ok(used.f_int64_value(&[position as i64])? as usize),
            None => Ok(position),
        }
    }
}

/// Returns a function of the first row of a window: whether it has all inputs and at least one target, and ends in a row that does not
/// look ahead. Returns `None` if all windows do.
fn complete<'a>(
    inputs: &Tensor,
    targets: &Tensor,
    looks_ahead: &'a [bool],
    layout: Layout,
) -> Result<Option<impl Fn(usize) -> bool + use<'a>>> {
    let missing = Vec::<bool>::try_from(inputs.f_isnan()?.f_any_dim(1, false)?)?;
    let present = Vec::<bool>::try_from(targets.f_isnan()?.f_logical_not()?.f_any_dim(1, false)?)?;
    if !missing.contains(&true) && !present.contains(&false) && !looks_ahead.contains(&true) {
        return Ok(None);
    }
    let Layout { window_size, horizon, stride, sequence, .. } = layout;
    let (missing, present) = (strided_sums(&missing, stride), strided_sums(&present, stride));
    // The number of rows that count, among `steps` rows from `first`.
    let count = move |sums: &[u32], first: usize, steps: usize| {
        sums[first + (steps - 1) * stride] - first.checked_sub(stride).map_or(0, |before| sums[before])
    };
    let (ahead, steps) = if sequence { (1, window_size) } else { (window_size, horizon) };
    Ok(Some(move |first: usize| {
        let last = first + (window_size - 1) * stride;
        count(&missing, first, window_size) == 0
            && count(&present, first + ahead * stride, steps) > 0
            && !looks_ahead.get(last).is_some_and(|&looks_ahead| looks_ahead)
    }))
}

/// Returns indices as a tensor, in half of the memory if they are small.
fn indices(indices: impl Iterator<Item = usize>) -> Result<Tensor> {
    let mut small = Vec::new();
    let mut large = Vec::new();
    for index in indices {
        match i32::try_from(index) {
            Ok(index) if large.is_empty() => small.push(index),
            _ => {
                large.extend(small.drain(..).map(i64::from));
                large.push(index as i64);
            }
        }
    }
    Ok(if large.is_empty() { Tensor::f_from_slice(&small)? } else { Tensor::f_from_slice(&large)? })
}

/// Returns for each row how many of it and the rows `stride`, `2 stride`, ... before it are true.
fn strided_sums(rows: &[bool], stride: usize) -> Vec<u32> {
    let mut sums: Vec<u32> = Vec::with_capacity(rows.len());
    for (row, &is_true) in rows.iter().enumerate() {
        let before = row.checked_sub(stride).map_or(0, |before| sums[before]);
        sums.push(before + u32::from(is_true));
    }
    sums
}

impl Dataset for WindowDataset {
    fn len(&self) -> usize {
        self.used.as_ref().unwrap_or(&self.x).size()[0] as usize
    }

    /// Gathers `x` and `y` separately: this is faster than one gather of both, whose two halves are not contiguous.
    fn gather(&self, indices: &Tensor) -> Result<(Tensor, Tensor)> {
        let used = self.used.as_ref().map(|used| used.f_index_select(0, indices)).transpose()?;
        let windows = used.as_ref().unwrap_or(indices);
        let (x, y) = (self.x.f_index_select(0, windows)?, self.y.f_index_select(0, windows)?);
        Ok((
            self.owners
                .as_ref()
                .map(|owners| owners.join(x.shallow_clone(), windows))
                .transpose()?
                .unwrap_or(x),
            y,
        ))
    }

    /// Returns the first row of each window among the rows of many series; of one series the positions.
    fn ids(&self, positions: &[i64]) -> Result<Vec<i64>> {
        match (&self.owners, &self.used) {
            (Some(_), Some(used)) => {
                let positions = Tensor::f_from_slice(positions)?.f_to_device(used.device())?;
                Ok(used
                    .f_index_select(0, &positions)?
                    .f_to_kind(Kind::Int64)?
                    .f_to_device(Device::Cpu)?
                    .try_into()?)
            }
            _ => Ok(positions.to_vec()),
        }
    }

    fn slice(&self, start: i64, length: i64) -> Result<(Tensor, Tensor)> {
        if self.used.is_some() {
            return self.gather(&Tensor::f_arange_start(
                start,
                start + length,
                (Kind::Int64, self.device()),
            )?);
        }
        Ok((self.x.f_narrow(0, start, length)?, self.y.f_narrow(0, start, length)?))
    }

    fn device(&self) -> Device {
        self.inputs.device()
    }

    /// Moves the series and makes the windows anew, which is cheaper than moving each window.
    fn to(self: Box<Self>, device: Device, kind: Kind) -> Result<Box<dyn Dataset>> {
        let convert = |series: &Tensor| series.f_to_device(device)?.f_to_kind(kind);
        let inputs = convert(&self.inputs)?;
        let targets = if self.inputs.data_ptr() == self.targets.data_ptr() {
            inputs.shallow_clone()
        } else {
            convert(&self.targets)?
        };
        let used = self.used.map(|used| used.f_to_device(device)).transpose()?;
        let owners = self.owners.map(|Owners { firsts, statics }| {
            Ok::<_, Error>(Owners { firsts: firsts.f_to_device(device)?, statics: convert(&statics)? })
        });
        Ok(Box::new(Self { used, owners: owners.transpose()?, ..Self::of(inputs, targets, self.layout)? }))
    }
}

#[cfg(test)]
mod tests;
