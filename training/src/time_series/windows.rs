//! Windows over a series, like those of `tf.data.Dataset.window`.

use tch::Tensor;
use text_recognizer::data::{DataLoader, Shuffle};
use text_recognizer::{Error, Result};

use super::{Layout, WindowDataset};

/// Returns windows over `series`, `[time, ...]`, like `tf.data.Dataset.window`: each is a view, `[size, ...]`.
///
/// The values of a window are `stride` rows apart, and each window starts `shift` rows after the one before. The last windows
/// are shorter than `size`; `drop_remainder` leaves them out.
///
/// ```
/// use text_recognizer::tch::{Tensor, kind};
/// use training::time_series::windows;
///
/// let ten = Tensor::arange(10, kind::FLOAT_CPU);
/// let all = windows(&ten, 5, 1, 1, false)?;
/// assert_eq!((all.len(), &all[0], &all[9]), (10, &ten.slice(0, 0, 5, 1), &ten.slice(0, 9, 10, 1)));
///
/// let full = windows(&ten, 5, 1, 1, true)?;
/// assert_eq!((full.len(), &full[5]), (6, &ten.slice(0, 5, 10, 1)));
/// # Ok::<(), text_recognizer::Error>(())
/// ```
///
/// # Errors
/// Fails if `size`, `shift` or `stride` is below 1, or if `series` is a scalar.
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
    let Some(&length) = series.size().first() else {
        return Err(Error::shape("windows", "[time, ...]", &[]));
    };
    let span = (size - 1).saturating_mul(stride).saturating_add(1);
    // A stride beyond the end gives the same windows as this one, and would overflow in libtorch.
    let stride = stride.min(length.max(1));
    let starts = (0..length).step_by(shift as usize);
    let starts = starts.filter(|start| !drop_remainder || span <= length - start);
    starts.map(|start| Ok(series.f_slice(0, start, start + span.min(length - start), stride)?)).collect()
}

/// Returns batches of windows and their next values, like `windowed_dataset` of the TensorFlow time-series course.
///
/// `series` is `[time, features]`, or `[time]` for one feature. A batch has `x: [batch, window_size, features]` and
/// `y: [batch, 1, features]`. A buffer of `shuffle_buffer` windows shuffles them, in a new order in each epoch.
///
/// ```
/// use text_recognizer::tch::{Tensor, kind};
/// use training::time_series::windowed_dataset;
///
/// let ten = Tensor::arange(10, kind::FLOAT_CPU);
/// for batch in windowed_dataset(&ten, 4, 2, 10, 42)?.epoch(0, 0) {
///     let batch = batch?;
///     assert_eq!((batch.x.size(), batch.y.size()), (vec![2, 4, 1], vec![2, 1, 1]));
///     // The label is the value after the window.
///     assert_eq!(batch.x.select(1, 3) + 1.0, batch.y.select(1, 0));
/// }
/// # Ok::<(), text_recognizer::Error>(())
/// ```
///
/// # Errors
/// Fails if the series is shorter than one window and its next value, or if a size is 0.
pub fn windowed_dataset(
    series: &Tensor,
    window_size: usize,
    batch_size: usize,
    shuffle_buffer: usize,
    seed: u64,
) -> Result<DataLoader> {
    let layout = Layout { window_size, horizon: 1, shift: 1, stride: 1, sequence: false };
    let columns = if series.dim() == 1 { series.f_unsqueeze(1)? } else { series.shallow_clone() };
    let dataset = WindowDataset::new(&columns, layout)?;
    DataLoader::new(
        Box::new(dataset),
        batch_size,
        Shuffle::Buffer { seed, size: shuffle_buffer, reshuffle: true },
    )
}

#[cfg(test)]
mod tests {
    use text_recognizer::data::Dataset;

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

    /// The expected windows are the output of the course's notebook for `range(10)`.
    #[test]
    fn windows_of_ten_values_equal_those_of_tf_data() {
        let all = lists(&windows(&ten(), 5, 1, 1, false).unwrap());
        assert_eq!(all.len(), 10);
        assert_eq!(all[0], [0, 1, 2, 3, 4]);
        assert_eq!(all[5..], [vec![5, 6, 7, 8, 9], vec![6, 7, 8, 9], vec![7, 8, 9], vec![8, 9], vec![9]]);
        let full = lists(&windows(&ten(), 5, 1, 1, true).unwrap());
        assert_eq!(full, (0..6).map(|i| (i..i + 5).collect()).collect::<Vec<Vec<i64>>>());
        // The output of tf.data for range(7) with size 3, first with stride 2, then with shift 3.
        let seven = Tensor::arange(7, tch::kind::FLOAT_CPU);
        assert_eq!(
            lists(&windows(&seven, 3, 1, 2, true).unwrap()),
            [vec![0, 2, 4], vec![1, 3, 5], vec![2, 4, 6]]
        );
        assert_eq!(lists(&windows(&seven, 3, 3, 1, false).unwrap()), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
    }

    #[test]
    fn windowed_dataset_of_ten_values_has_three_shuffled_batches_of_two() {
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
    fn sizes_beyond_the_series_are_errors_without_overflow() {
        let all = i64::MAX;
        assert_eq!(lists(&windows(&ten(), all, all, all, false).unwrap()), [[0]]);
        assert!(windows(&ten(), all, 1, 2, true).unwrap().is_empty());
        assert!(windows(&Tensor::from(1.0), 2, 1, 1, false).unwrap_err().to_string().contains("[time, ...]"));
        let layout = Layout { window_size: 2, horizon: 1, shift: usize::MAX, stride: 1, sequence: false };
        let series = ten().view([10, 1]);
        assert_eq!(WindowDataset::new(&series, layout).unwrap().len(), 1);
        for layout in [
            Layout { window_size: usize::MAX, ..layout },
            Layout { horizon: usize::MAX, ..layout },
            Layout { stride: usize::MAX, ..layout },
        ] {
            let error = WindowDataset::new(&series, layout).unwrap_err().to_string();
            assert!(error.contains("series is 10:"), "{error}");
        }
        assert!(WindowDataset::new(&ten(), layout).unwrap_err().to_string().contains("[time, features]"));
        assert_eq!(windowed_dataset(&ten(), 4, 2, 10, 1).unwrap().rows(), 6);
    }

    /// A copy of all windows would take 4 GB.
    #[test]
    #[cfg(target_os = "linux")]
    fn windowed_dataset_of_a_million_rows_copies_no_windows() {
        let peak = || -> u64 {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let before = peak();
        let series = Tensor::zeros([1_000_000, 1], tch::kind::FLOAT_CPU);
        let loader = windowed_dataset(&series, 1000, 32, 1000, 1).unwrap();
        for batch in loader.epoch(0, 0).take(3) {
            assert_eq!(batch.unwrap().x.size(), [32, 1000, 1]);
        }
        let grown = peak() - before;
        assert!(grown < 1_000_000, "{grown} KiB");
    }
}
