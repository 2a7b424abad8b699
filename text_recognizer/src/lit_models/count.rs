//! Numbers of rows or terms, and the rows of a classification that count.

use tch::{Device, Kind, Tensor};

use super::losses::check_classes;
use crate::error::{Error, Result};

/// The target of a row that the cross entropy and the accuracy leave out: the default `ignore_index` of PyTorch.
pub const IGNORED: i64 = -100;

/// A number of rows, or of the terms of a sum, or the weights of sums.
#[derive(Debug)]
pub enum Count {
    /// A number that is known without the device.
    Known(i64),
    /// An int64 scalar on a device other than the CPU. To read it, the process waits for the device.
    OnDevice(Tensor),
    /// The weight of each group of a metric, which need not be a whole number: a tensor of the shape of the sums.
    Weights(Tensor),
}

impl Count {
    /// Returns the number. Synchronizes with the device if the number is there.
    ///
    /// # Errors
    /// Fails if the tensor is not a scalar.
    pub fn get(&self) -> Result<i64> {
        match self {
            Self::Known(count) => Ok(*count),
            Self::OnDevice(count) | Self::Weights(count) => Ok(count.f_int64_value(&[])?),
        }
    }
}

impl From<i64> for Count {
    fn from(count: i64) -> Self {
        Self::Known(count)
    }
}

impl From<&Count> for Count {
    fn from(count: &Count) -> Self {
        match count {
            Count::Known(count) => Self::Known(*count),
            Count::OnDevice(count) => Self::OnDevice(count.shallow_clone()),
            Count::Weights(weights) => Self::Weights(weights.shallow_clone()),
        }
    }
}

/// Returns the number of rows whose target is not [`IGNORED`]. Checks the shapes and, on the CPU, that all other targets are
/// classes. On other devices the kernel of the cross entropy checks them, without a wait for the device.
pub(super) fn counted_rows(prediction: &Tensor, target: &Tensor) -> Result<Count> {
    check_classes(prediction, target)?;
    if target.device() != Device::Cpu {
        return Ok(Count::OnDevice(target.f_ne(IGNORED)?.f_sum(Kind::Int64)?));
    }
    let (classes, targets) = (prediction.size()[1], Vec::<i64>::try_from(target)?);
    let wrong = |target: i64| !(0..classes).contains(&target) && target != IGNORED;
    if let Some((row, target)) = targets.iter().enumerate().find(|(_, target)| wrong(**target)) {
        let expected = format!("a class in 0..{classes}, or {IGNORED} to leave the row out");
        return Err(Error::invalid(format!("target[{row}]"), target, expected));
    }
    Ok(Count::Known(targets.iter().filter(|target| **target != IGNORED).count() as i64))
}

#[cfg(test)]
mod tests {
    use super::super::{Accuracy, Loss, LossName, Running};
    use super::*;

    fn logits() -> Tensor {
        let values = [2.0, 1.0, 0.0, 0.0, 3.0, -1.0, 5.0, 4.0, 1.0, -1.0, -2.0, 0.5, 0.3, 0.2, 0.1];
        Tensor::from_slice(&values).view([5, 3])
    }

    const TARGETS: [i64; 5] = [0, IGNORED, 1, 2, IGNORED];

    /// Returns the mean loss and the accuracy over batches of these sizes.
    fn means(logits: &Tensor, sizes: &[i64]) -> (Option<f64>, Option<f64>) {
        let (mut loss, mut accuracy, mut start) = (Running::default(), Accuracy::default(), 0);
        let target = Tensor::from_slice(&TARGETS);
        for &size in sizes {
            let (x, y) = (logits.narrow(0, start, size), target.narrow(0, start, size));
            let mean = LossName::CrossEntropy.compute(&x, &y).unwrap();
            loss.add_mean(&mean, LossName::CrossEntropy.rows(&x, &y).unwrap()).unwrap();
            accuracy.update(&x, &y).unwrap();
            start += size;
        }
        (loss.mean(), accuracy.compute())
    }

    /// The loss of all rows is that of PyTorch:
    ///
    /// ```python
    /// logits = torch.tensor([[2., 1, 0], [0, 3, -1], [5, 4, 1], [-1, -2, .5], [.3, .2, .1]], dtype=torch.float64)
    /// target = torch.tensor([0, -100, 1, 2, -100])
    /// print(torch.nn.functional.cross_entropy(logits, target).item())  # 0.6668455018396616
    /// ```
    #[test]
    fn ignored_rows_do_not_count_in_loss_and_accuracy_of_any_batches() {
        for sizes in [&[5][..], &[2, 3], &[1, 1, 1, 1, 1], &[4, 1], &[2, 2, 1]] {
            let (loss, accuracy) = means(&logits(), sizes);
            assert!((loss.unwrap() - 0.6668455018396616).abs() < 1e-12, "{sizes:?}: {loss:?}");
            assert_eq!(accuracy, Some(2.0 / 3.0), "{sizes:?}");
        }
    }

    #[test]
    fn batch_of_ignored_rows_has_no_value_and_no_gradient() {
        let logits = logits().narrow(0, 0, 2).set_requires_grad(true);
        let target = Tensor::from_slice(&[IGNORED; 2]);
        let loss = LossName::CrossEntropy.compute(&logits, &target).unwrap();
        loss.backward();
        assert_eq!((loss.double_value(&[]), logits.grad().abs().sum(None).double_value(&[])), (0.0, 0.0));
        let mut running = Running::default();
        running.add_mean(&loss, LossName::CrossEntropy.rows(&logits, &target).unwrap()).unwrap();
        running.add_mean(&Tensor::from(f64::NAN), 0).unwrap();
        let mut accuracy = Accuracy::default();
        accuracy.update(&logits, &target).unwrap();
        assert_eq!((running.mean(), accuracy.compute()), (None, None));
    }

    #[test]
    fn scores_of_nan_have_a_loss_of_nan_and_are_not_correct() {
        let (loss, accuracy) = means(&(logits() * f64::NAN), &[5]);
        assert!(loss.unwrap().is_nan());
        assert_eq!(accuracy, Some(0.0));
        // PyTorch's argmax treats NaN as the largest score.
        let row = Tensor::from_slice(&[1.0, f64::NAN, 0.0]).view([1, 3]);
        let mut accuracy = Accuracy::default();
        accuracy.update(&row, &Tensor::from_slice(&[1i64])).unwrap();
        assert_eq!(accuracy.compute(), Some(0.0));
        accuracy
            .update(
                &Tensor::from_slice(&[f64::INFINITY, 0.0, -1.0]).view([1, 3]),
                &Tensor::from_slice(&[0i64]),
            )
            .unwrap();
        assert_eq!(accuracy.compute(), Some(0.5));
    }

    #[test]
    fn target_that_is_not_a_class_fails_with_its_value() {
        for wrong in [3, -1, -99, -101, i64::MAX, i64::MIN] {
            let (x, y) = (logits().narrow(0, 0, 2), Tensor::from_slice(&[0, wrong]));
            let expected = format!("target[1] is {wrong}: expected a class in 0..3, or -100");
            let of_loss = LossName::CrossEntropy.compute(&x, &y).unwrap_err().to_string();
            let of_rows = LossName::CrossEntropy.rows(&x, &y).unwrap_err().to_string();
            let of_accuracy = Accuracy::default().update(&x, &y).unwrap_err().to_string();
            for error in [of_loss, of_rows, of_accuracy] {
                assert!(error.starts_with(&expected), "{error}");
            }
        }
    }

    #[test]
    fn target_of_nan_gives_a_loss_and_metrics_of_nan() {
        use super::super::{Metric, MetricName};
        let (p, y) = (Tensor::from_slice(&[1.0, 2.0]), Tensor::from_slice(&[1.0, f64::NAN]));
        for loss in [LossName::Mse, LossName::Mae, LossName::Huber, LossName::Mape, LossName::Smape] {
            assert!(loss.compute(&p, &y).unwrap().double_value(&[]).is_nan(), "{loss:?}");
            assert_eq!(loss.rows(&p, &y).unwrap().get().unwrap(), 2);
        }
        for metric in MetricName::OF_NUMBERS {
            assert!(metric.sum(&p, &y).unwrap().sum.double_value(&[]).is_nan(), "{metric:?}");
        }
    }

    /// The device path, on the CPU: the number of rows is a tensor until the parts are read.
    #[test]
    fn running_with_counts_on_the_device_equals_known_counts() {
        let on_device = |count: i64| Count::OnDevice(Tensor::from(count));
        let (mut a, mut b) = (Running::default(), Running::default());
        for (mean, count) in [(2.0, 3), (f64::NAN, 0), (5.0, 1)] {
            a.add_mean(&Tensor::from(mean), on_device(count)).unwrap();
            b.add_mean(&Tensor::from(mean), count).unwrap();
        }
        assert_eq!(a.parts(), [[11.0, 4.0]]);
        assert_eq!((a.parts().to_vec(), a.mean()), (b.parts().to_vec(), Some(2.75)));
        assert_eq!(on_device(7).get().unwrap(), 7);
        a.add_mean(&Tensor::from(f64::NAN), on_device(1)).unwrap();
        assert!(a.mean().unwrap().is_nan());
    }
}
