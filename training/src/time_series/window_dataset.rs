//! Datasets of windows over a series and their targets. All windows are views of one tensor.

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
        dataset.used = used(inputs, targets, looks_ahead, layout, dataset.x.size()[0] as usize)?;
        if dataset.is_empty() {
            let expected = "at least 1; try --fill forward, a smaller --window_size or a smaller --stride";
            return Err(Error::invalid("the number of windows without a missing value", 0, expected));
        }
        Ok(dataset)
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
        Ok(Self { inputs, targets, layout, x, y, used: None })
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

/// Returns the indices of the windows that have all inputs and at least one target, and end in a row that does not look ahead; `None`
/// for all windows.
fn used(
    inputs: &Tensor,
    targets: &Tensor,
    looks_ahead: &[bool],
    layout: Layout,
    windows: usize,
) -> Result<Option<Tensor>> {
    let missing = Vec::<bool>::try_from(inputs.f_isnan()?.f_any_dim(1, false)?)?;
    let present = Vec::<bool>::try_from(targets.f_isnan()?.f_logical_not()?.f_any_dim(1, false)?)?;
    if !missing.contains(&true) && !present.contains(&false) && !looks_ahead.contains(&true) {
        return Ok(None);
    }
    let Layout { window_size, horizon, shift, stride, sequence } = layout;
    let (missing, present) = (strided_sums(&missing, stride), strided_sums(&present, stride));
    // The number of rows that count, among `steps` rows from `first`.
    let count = |sums: &[u32], first: usize, steps: usize| {
        sums[first + (steps - 1) * stride] - first.checked_sub(stride).map_or(0, |before| sums[before])
    };
    let (ahead, steps) = if sequence { (1, window_size) } else { (window_size, horizon) };
    let used: Vec<i64> = (0..windows)
        .filter(|window| {
            let first = window.saturating_mul(shift);
            let last = first + (window_size - 1) * stride;
            count(&missing, first, window_size) == 0
                && count(&present, first + ahead * stride, steps) > 0
                && !looks_ahead.get(last).is_some_and(|&looks_ahead| looks_ahead)
        })
        .map(|window| window as i64)
        .collect();
    Ok((used.len() < windows).then(|| Tensor::from_slice(&used)))
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
        Ok((self.x.f_index_select(0, windows)?, self.y.f_index_select(0, windows)?))
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
        Ok(Box::new(Self { used, ..Self::of(inputs, targets, self.layout)? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f32 = f32::NAN;

    fn ten() -> Tensor {
        Tensor::arange(10, tch::kind::FLOAT_CPU)
    }

    fn rows(tensor: &Tensor) -> Vec<Vec<f32>> {
        Vec::try_from(tensor.flatten(1, -1)).unwrap()
    }

    fn column(values: &[f32]) -> Tensor {
        Tensor::from_slice(values).view([-1, 1])
    }

    #[test]
    fn complete_windows_leave_out_missing_inputs_and_targets_without_a_value() {
        let values = column(&[0.0, 1.0, 2.0, NAN, 4.0, 5.0, 6.0, 7.0, NAN, NAN]);
        let layout = Layout { window_size: 2, horizon: 2, shift: 1, stride: 1, sequence: false };
        let dataset = WindowDataset::complete(&values, &values, &[], layout).unwrap();
        let (x, y) = dataset.slice(0, dataset.len() as i64).unwrap();
        assert_eq!(rows(&x), [[0.0, 1.0], [1.0, 2.0], [4.0, 5.0], [5.0, 6.0]]);
        assert_eq!(format!("{:?}", rows(&y)), "[[2.0, NaN], [NaN, 4.0], [6.0, 7.0], [7.0, NaN]]");
        assert_eq!((dataset.left_out(), dataset.index(2).unwrap()), (3, 4));
        let (x, _) = dataset.gather(&Tensor::from_slice(&[3i64, 0])).unwrap();
        assert_eq!(rows(&x), [[5.0, 6.0], [0.0, 1.0]]);
        let double = Box::new(dataset).to(Device::Cpu, Kind::Double).unwrap();
        assert_eq!((double.len(), double.slice(2, 1).unwrap().0.double_value(&[0, 1, 0])), (4, 5.0));
    }

    #[test]
    fn complete_windows_of_every_layout_equal_those_of_a_filter() {
        let missing = [4usize, 11, 12, 20, 37];
        let values: Vec<f32> =
            (0..40).map(|row| if missing.contains(&row) { NAN } else { row as f32 }).collect();
        let values = column(&values);
        for (window_size, horizon, shift, stride, sequence) in [
            (1, 1, 1, 1, false),
            (3, 2, 1, 2, false),
            (4, 1, 3, 1, true),
            (2, 3, 2, 3, false),
            (3, 1, 1, 2, true),
        ] {
            let layout = Layout { window_size, horizon, shift, stride, sequence };
            let all = WindowDataset::new(&values, layout).unwrap();
            let (x, y) = all.slice(0, all.len() as i64).unwrap();
            let (x, y) = (rows(&x), rows(&y));
            let expected: Vec<usize> = (0..x.len())
                .filter(|&at| x[at].iter().all(|x| !x.is_nan()) && y[at].iter().any(|y| !y.is_nan()))
                .collect();
            let dataset = WindowDataset::complete(&values, &values, &[], layout).unwrap();
            let used: Vec<usize> = (0..dataset.len()).map(|at| dataset.index(at).unwrap()).collect();
            assert_eq!(used, expected, "{layout:?}");
        }
    }

    #[test]
    fn complete_windows_of_filled_inputs_have_no_filled_target() {
        let (filled, values) = (column(&[0.0, 1.0, 1.0, 3.0, 4.0]), column(&[0.0, 1.0, NAN, 3.0, 4.0]));
        let layout = Layout { window_size: 2, horizon: 1, shift: 1, stride: 1, sequence: false };
        let dataset = WindowDataset::complete(&filled, &values, &[], layout).unwrap();
        let (x, y) = dataset.slice(0, dataset.len() as i64).unwrap();
        assert_eq!((rows(&x), rows(&y)), (vec![vec![1.0, 1.0], vec![1.0, 3.0]], vec![vec![3.0], vec![4.0]]));
        let ahead = [false, false, true, false, false];
        let dataset = WindowDataset::complete(&filled, &values, &ahead, layout).unwrap();
        assert_eq!((dataset.len(), dataset.index(0).unwrap()), (1, 2));
    }

    #[test]
    fn complete_windows_of_a_series_with_too_many_gaps_are_an_error() {
        let values = column(&[0.0, NAN, 2.0, NAN, 4.0]);
        let layout = Layout { window_size: 2, horizon: 1, shift: 1, stride: 1, sequence: false };
        let error = WindowDataset::complete(&values, &values, &[], layout).unwrap_err().to_string();
        assert!(error.contains("--fill forward"), "{error}");
    }

    #[test]
    fn window_dataset_of_each_layout_has_the_expected_rows() {
        let series = Tensor::arange(20, tch::kind::FLOAT_CPU).view([10, 2]); // row t is [2t, 2t + 1]
        let layout = Layout { window_size: 3, horizon: 2, shift: 2, stride: 1, sequence: false };
        let dataset = WindowDataset::new(&series, layout).unwrap();
        let (x, y) = dataset.gather(&Tensor::from_slice(&[1i64])).unwrap();
        assert_eq!(
            (rows(&x), rows(&y)),
            (vec![vec![4.0, 5.0, 6.0, 7.0, 8.0, 9.0]], vec![vec![10.0, 11.0, 12.0, 13.0]])
        );
        assert_eq!(dataset.len(), 3);
        let strided =
            WindowDataset::new(&series, Layout { stride: 2, shift: 1, horizon: 1, ..layout }).unwrap();
        let (x, y) = strided.slice(0, 1).unwrap();
        assert_eq!((rows(&x), rows(&y)), (vec![vec![0.0, 1.0, 4.0, 5.0, 8.0, 9.0]], vec![vec![12.0, 13.0]]));
        let sequence = WindowDataset::new(&series, Layout { horizon: 1, sequence: true, ..layout }).unwrap();
        let (_, y) = sequence.slice(0, 1).unwrap();
        assert_eq!(rows(&y), [[2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]);
    }

    #[test]
    fn window_dataset_is_a_view_and_converts_to_another_dtype() {
        let series = Tensor::arange(1000, tch::kind::FLOAT_CPU).view([1000, 1]);
        let layout = Layout { window_size: 100, horizon: 1, shift: 1, stride: 1, sequence: false };
        let dataset = WindowDataset::new(&series, layout).unwrap();
        assert_eq!(dataset.x.data_ptr(), series.data_ptr());
        let double = Box::new(dataset).to(Device::Cpu, Kind::Double).unwrap();
        let (x, y) = double.gather(&Tensor::from_slice(&[7i64, 899])).unwrap();
        assert_eq!((x.double_value(&[1, 99, 0]), y.double_value(&[0, 0, 0])), (998.0, 107.0));
        assert_eq!(x.kind(), Kind::Double);
    }

    #[test]
    fn window_longer_than_the_series_is_an_error_with_both_lengths() {
        let layout = Layout { window_size: 10, horizon: 1, shift: 1, stride: 1, sequence: false };
        let error = WindowDataset::new(&ten().view([10, 1]), layout).unwrap_err().to_string();
        assert!(error.contains("series is 10:") && error.contains("at least 11"), "{error}");
    }

    #[test]
    fn batch_of_a_narrowed_series_is_contiguous() {
        let wide = Tensor::arange(60, tch::kind::FLOAT_CPU).view([12, 5]);
        let narrow = wide.narrow(1, 1, 3).narrow(0, 2, 10); // row t is [5t + 11, 5t + 12, 5t + 13]
        let layout = Layout { window_size: 2, horizon: 1, shift: 1, stride: 3, sequence: false };
        let dataset = WindowDataset::new(&narrow, layout).unwrap();
        let (x, y) = dataset.gather(&Tensor::from_slice(&[1i64])).unwrap();
        assert_eq!(
            (rows(&x), rows(&y)),
            (vec![vec![16.0, 17.0, 18.0, 31.0, 32.0, 33.0]], vec![vec![46.0, 47.0, 48.0]])
        );
        assert!(x.is_contiguous() && y.is_contiguous());
    }
}
