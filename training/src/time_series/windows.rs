//! Windows over a series: views of its one tensor, as `tf.data.Dataset.window` cuts them.

use tch::{Device, Kind, Tensor};
use text_recognizer::data::{DataLoader, Dataset, Shuffle};
use text_recognizer::{Error, Result};

/// Windows of `size` values of `series` (`[time, ...]`), `stride` apart; each window begins `shift` after the one before.
/// At the end they get shorter, unless `drop_remainder`. All of them are views.
///
/// # Errors
/// When `size`, `shift` or `stride` is 0.
pub fn windows(
    series: &Tensor,
    size: i64,
    shift: i64,
    stride: i64,
    drop_remainder: bool,
) -> Result<Vec<Tensor>> {
    for (name, value) in [("size", size), ("shift", shift), ("stride", stride)] {
        if value < 1 {
            return Err(Error::invalid(name, value, "at least 1"));
        }
    }
    let length = series.size()[0];
    let span = (size - 1) * stride + 1;
    let starts =
        (0..length).step_by(shift as usize).filter(|start| !drop_remainder || start + span <= length);
    starts.map(|start| Ok(series.f_slice(0, start, (start + span).min(length), stride)?)).collect()
}

/// The course's `windowed_dataset`: windows of `window_size` values of `series` (`[time, features]`) with the value after
/// them, shuffled by way of a buffer, in batches.
///
/// # Errors
/// When the series is shorter than one window and its next value, or a size is 0.
pub fn windowed_dataset(
    series: &Tensor,
    window_size: usize,
    batch_size: usize,
    shuffle_buffer: usize,
    seed: u64,
) -> Result<DataLoader> {
    let layout = Layout { window_size, horizon: 1, shift: 1, stride: 1, sequence: false };
    let dataset = WindowDataset::new(series, layout)?;
    DataLoader::new(Box::new(dataset), batch_size, Shuffle::Buffer { seed, size: shuffle_buffer })
}

/// How windows and their targets lie in a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Values in a window.
    pub window_size: usize,
    /// Values after it that are the target.
    pub horizon: usize,
    /// Steps from one window to the next.
    pub shift: usize,
    /// Steps from one value of a window to the next.
    pub stride: usize,
    /// Whether the target is the next value at each step of the window, and not only after it.
    pub sequence: bool,
}

impl Layout {
    /// Rows of the series that a window and its target span.
    pub fn span(self) -> usize {
        (self.window_size + self.horizon - 1) * self.stride + 1
    }
}

/// Windows and what follows them: `x: [batch, window_size, features]`, `y: [batch, horizon, features]`, or of sequences
/// `[batch, window_size, features]`.
#[derive(Debug)]
pub struct WindowDataset {
    /// `[windows, features, window_size + horizon]`, a view of the series.
    view: Tensor,
    layout: Layout,
}

impl WindowDataset {
    /// Cuts `series`, `[time, features]`, without copying it.
    ///
    /// # Errors
    /// When the series is shorter than one window and its target, or a size is 0.
    pub fn new(series: &Tensor, layout: Layout) -> Result<Self> {
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
                "1 with sequence_loss, whose target is the next value at each step",
            ));
        }
        let (length, span) = (series.size()[0], layout.span());
        if (length as usize) < span {
            let expected = format!(
                "at least {span} values: a window of {window_size}, {stride} apart, and {horizon} after it"
            );
            return Err(Error::invalid("the part of the series", format!("{length} values long"), expected));
        }
        let view =
            series.f_unfold(0, span as i64, shift as i64)?.f_slice(2, 0, span as i64, stride as i64)?;
        Ok(Self { view, layout })
    }

    /// Inputs and targets of windows, `[n, features, window_size + horizon]`.
    fn split(&self, windows: &Tensor) -> Result<(Tensor, Tensor)> {
        let (size, horizon) = (self.layout.window_size as i64, self.layout.horizon as i64);
        let windows = windows.f_transpose(1, 2)?; // [n, window_size + horizon, features]
        let x = windows.f_narrow(1, 0, size)?;
        let y = if self.layout.sequence {
            windows.f_narrow(1, 1, size)?
        } else {
            windows.f_narrow(1, size, horizon)?
        };
        Ok((x, y))
    }
}

impl Dataset for WindowDataset {
    fn len(&self) -> usize {
        self.view.size()[0] as usize
    }

    fn gather(&self, indices: &Tensor) -> Result<(Tensor, Tensor)> {
        self.split(&self.view.f_index_select(0, indices)?)
    }

    fn slice(&self, start: i64, length: i64) -> Result<(Tensor, Tensor)> {
        self.split(&self.view.f_narrow(0, start, length)?)
    }

    fn device(&self) -> Device {
        self.view.device()
    }

    /// Moves the series under the windows, and not each window.
    fn to(mut self: Box<Self>, device: Device, kind: Kind) -> Result<Box<dyn Dataset>> {
        if (self.view.device(), self.view.kind()) != (device, kind) {
            let (size, strides, offset) = (self.view.size(), self.view.stride(), self.view.storage_offset());
            let reach: i64 =
                size.iter().zip(&strides).map(|(size, stride)| (size - 1) * stride).sum::<i64>() + 1;
            let flat = self.view.f_as_strided([reach], [1], offset)?;
            self.view = flat.f_to_device(device)?.f_to_kind(kind)?.f_as_strided(&size, &strides, 0)?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ten() -> Tensor {
        Tensor::arange(10, tch::kind::FLOAT_CPU)
    }

    fn lists(windows: &[Tensor]) -> Vec<Vec<i64>> {
        windows
            .iter()
            .map(|w| Vec::<f32>::try_from(w.view(-1)).unwrap().iter().map(|&v| v as i64).collect())
            .collect()
    }

    fn rows(tensor: &Tensor) -> Vec<Vec<i64>> {
        lists(&(0..tensor.size()[0]).map(|i| tensor.select(0, i).contiguous()).collect::<Vec<_>>())
    }

    /// The prints of the course for `range(10)`.
    #[test]
    fn the_windows_of_the_course() {
        let all = lists(&windows(&ten(), 5, 1, 1, false).unwrap());
        assert_eq!(all.len(), 10);
        assert_eq!(all[0], [0, 1, 2, 3, 4]);
        assert_eq!(all[5..], [vec![5, 6, 7, 8, 9], vec![6, 7, 8, 9], vec![7, 8, 9], vec![8, 9], vec![9]]);
        let full = lists(&windows(&ten(), 5, 1, 1, true).unwrap());
        assert_eq!(full, (0..6).map(|i| (i..i + 5).collect()).collect::<Vec<Vec<i64>>>());
        // Shift and stride, as tf.data prints them for range(7), sizes 3, shift 1, stride 2.
        let seven = Tensor::arange(7, tch::kind::FLOAT_CPU);
        assert_eq!(
            lists(&windows(&seven, 3, 1, 2, true).unwrap()),
            [vec![0, 2, 4], vec![1, 3, 5], vec![2, 4, 6]]
        );
        assert_eq!(lists(&windows(&seven, 3, 3, 1, false).unwrap()), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
    }

    #[test]
    fn four_values_and_the_fifth_in_batches_of_two() {
        let loader = windowed_dataset(&ten().view([10, 1]), 4, 2, 10, 1).unwrap();
        let batches: Vec<_> = loader.epoch(0, 0).map(Result::unwrap).collect();
        assert_eq!(batches.len(), 3);
        let mut seen = Vec::new();
        for batch in &batches {
            assert_eq!((batch.x.size(), batch.y.size()), (vec![2, 4, 1], vec![2, 1, 1]));
            for (x, y) in rows(&batch.x).into_iter().zip(rows(&batch.y)) {
                assert_eq!(x, (y[0] - 4..y[0]).collect::<Vec<_>>());
                seen.push(y[0]);
            }
        }
        assert_ne!(seen, [4, 5, 6, 7, 8, 9]);
        seen.sort_unstable();
        assert_eq!(seen, [4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn columns_horizons_strides_and_sequences() {
        let series = Tensor::arange(20, tch::kind::FLOAT_CPU).view([10, 2]); // row t is [2t, 2t + 1]
        let layout = Layout { window_size: 3, horizon: 2, shift: 2, stride: 1, sequence: false };
        let dataset = WindowDataset::new(&series, layout).unwrap();
        let (x, y) = dataset.gather(&Tensor::from_slice(&[1i64])).unwrap();
        assert_eq!((rows(&x), rows(&y)), (vec![vec![4, 5, 6, 7, 8, 9]], vec![vec![10, 11, 12, 13]]));
        assert_eq!(dataset.len(), 3);
        let strided =
            WindowDataset::new(&series, Layout { stride: 2, shift: 1, horizon: 1, ..layout }).unwrap();
        let (x, y) = strided.slice(0, 1).unwrap();
        assert_eq!((rows(&x), rows(&y)), (vec![vec![0, 1, 4, 5, 8, 9]], vec![vec![12, 13]]));
        let sequence = WindowDataset::new(&series, Layout { horizon: 1, sequence: true, ..layout }).unwrap();
        let (_, y) = sequence.slice(0, 1).unwrap();
        assert_eq!(rows(&y), [vec![2, 3, 4, 5, 6, 7]]);
    }

    #[test]
    fn windows_are_views_and_moving_them_moves_the_series_only() {
        let series = Tensor::arange(1000, tch::kind::FLOAT_CPU).view([1000, 1]);
        let layout = Layout { window_size: 100, horizon: 1, shift: 1, stride: 1, sequence: false };
        let dataset = WindowDataset::new(&series, layout).unwrap();
        assert_eq!(dataset.view.data_ptr(), series.data_ptr());
        let double = Box::new(dataset).to(Device::Cpu, Kind::Double).unwrap();
        let (x, y) = double.gather(&Tensor::from_slice(&[7i64, 899])).unwrap();
        assert_eq!((x.double_value(&[1, 99, 0]), y.double_value(&[0, 0, 0])), (998.0, 107.0));
        assert_eq!(x.kind(), Kind::Double);
    }

    #[test]
    fn a_window_longer_than_the_series_says_both_lengths() {
        let layout = Layout { window_size: 10, horizon: 1, shift: 1, stride: 1, sequence: false };
        let error = WindowDataset::new(&ten().view([10, 1]), layout).unwrap_err().to_string();
        assert!(error.contains("10 values long") && error.contains("at least 11"), "{error}");
    }
}
