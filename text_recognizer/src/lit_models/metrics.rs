//! Metrics: sums over batches, so that the value of an epoch is exact for any batch sizes.

use std::fmt::Debug;

use tch::{Device, Kind, Tensor};

use super::count::{Count, counted_rows};
use super::losses::{check_same, percentage_errors, symmetric_percentage_errors};
use crate::error::Result;

/// A metric, computed per batch as a sum and a number of terms.
///
/// The value of an epoch is the sum of all sums divided by the sum of all counts. It is exact over batches of any sizes and over
/// several processes.
///
/// ```
/// use text_recognizer::lit_models::{MetricSum, Running};
/// use text_recognizer::prelude::*;
/// use text_recognizer::tch::{Kind, Tensor};
///
/// /// The share of predictions that are closer to the target than this.
/// #[derive(Debug)]
/// struct Within(f64);
///
/// impl Metric for Within {
///     fn name(&self) -> &str {
///         "within"
///     }
///
///     fn sum(&self, prediction: &Tensor, target: &Tensor) -> text_recognizer::Result<MetricSum> {
///         let hits = (prediction - target).f_abs()?.f_lt(self.0)?;
///         Ok(MetricSum { sum: hits.f_sum(Kind::Float)?, count: (target.numel() as i64).into() })
///     }
/// }
///
/// let mut running = Running::default();
/// for (prediction, target) in [([1.0, 2.0], [1.1, 3.0]), ([4.0, 4.0], [4.0, 4.2])] {
///     let part = Within(0.5).sum(&Tensor::from_slice(&prediction), &Tensor::from_slice(&target))?;
///     running.add(&part.sum, part.count)?;
/// }
/// assert_eq!(running.mean(), Some(0.75));
///
/// let data = DataSpec { input_dims: vec![4], output_dims: vec![1], ..DataSpec::default() };
/// let model = Mlp::new(&MlpConfig::default(), &data, Placement::cpu(42))?;
/// let config = LitConfig { loss: LossName::Mse, ..LitConfig::default() };
/// let lit = BaseLitModel::new(Box::new(model), config)?.with_metrics(vec![Box::new(Within(0.5))]);
/// assert_eq!(lit.metrics(false)[0].name(), "within");
/// # Ok::<(), text_recognizer::Error>(())
/// ```
pub trait Metric: Debug {
    /// Returns the name without the split, such as `acc`.
    fn name(&self) -> &str;

    /// Returns the sum over a batch, and the number of its terms.
    ///
    /// # Errors
    /// Fails if the shapes of `prediction` and `target` do not fit each other.
    fn sum(&self, prediction: &Tensor, target: &Tensor) -> Result<MetricSum>;

    /// Returns the value of the metric from the mean over all batches; by default the mean itself.
    fn finish(&self, mean: f64) -> f64 {
        mean
    }
}

/// The sum of a metric over one batch.
#[derive(Debug)]
pub struct MetricSum {
    /// The sum, a scalar on the batch's device.
    pub sum: Tensor,
    /// The number of terms of the sum.
    pub count: Count,
}

/// The metrics of this library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricName {
    /// Accuracy: the share of rows with the largest score at the target, in 0..=1. A row with a score of NaN is not correct.
    /// Rows with the target -100 ([`IGNORED`](super::IGNORED)) are left out.
    Acc,
    /// Mean absolute error.
    Mae,
    /// Mean squared error.
    Mse,
    /// Root of the mean squared error over all elements.
    Rmse,
    /// Mean absolute percentage error, in percent.
    Mape,
    /// Symmetric mean absolute percentage error, in percent.
    Smape,
}

impl Metric for MetricName {
    fn name(&self) -> &str {
        match self {
            Self::Acc => "acc",
            Self::Mae => "mae",
            Self::Mse => "mse",
            Self::Rmse => "rmse",
            Self::Mape => "mape",
            Self::Smape => "smape",
        }
    }

    /// Returns the sum. `Acc` takes logits or probabilities, `[batch, classes]`, and on the CPU it fails at a target that is
    /// neither a class nor -100. The other metrics need two tensors of the same shape, and a NaN in one of them gives NaN.
    fn sum(&self, prediction: &Tensor, target: &Tensor) -> Result<MetricSum> {
        if *self == Self::Acc {
            let count = counted_rows(prediction, target)?;
            // NaN is larger than all numbers for libtorch, and not equal to itself.
            let (largest, class) = prediction.f_max_dim(-1, false)?;
            let hits = class.f_eq_tensor(target)?.f_logical_and(&largest.f_eq_tensor(&largest)?)?;
            return Ok(MetricSum { sum: hits.f_sum(Kind::Float)?, count });
        }
        check_same(prediction, target)?;
        let errors = match self {
            Self::Acc | Self::Mae => (prediction - target).f_abs()?,
            Self::Mse | Self::Rmse => (prediction - target).f_square()?,
            Self::Mape => percentage_errors(prediction, target)?,
            Self::Smape => symmetric_percentage_errors(prediction, target)?,
        };
        let kind = if errors.device() == Device::Mps { Kind::Float } else { Kind::Double };
        Ok(MetricSum { sum: errors.f_sum(kind)?, count: (target.numel() as i64).into() })
    }

    fn finish(&self, mean: f64) -> f64 {
        if *self == Self::Rmse { mean.sqrt() } else { mean }
    }
}

/// A running mean that does not synchronize with the device: on the CPU it sums in double precision; on other devices it sums
/// on the device until [`Running::parts`] or [`Running::mean`] is called.
#[derive(Debug, Default)]
pub struct Running {
    sum: f64,
    count: i64,
    /// The sum and the count that are still on the device.
    pending: (Option<Tensor>, Option<Tensor>),
}

impl Running {
    /// Continues from the sum and count of [`Running::parts`].
    pub fn from_parts(sum: f64, count: i64) -> Self {
        Self { sum, count, ..Self::default() }
    }

    /// Adds a sum of `count` terms.
    ///
    /// # Errors
    /// Fails if `sum` is not a scalar.
    pub fn add(&mut self, sum: &Tensor, count: impl Into<Count>) -> Result<()> {
        self.add_sum(sum)?;
        self.add_count(count.into())
    }

    /// Adds the mean of `count` terms. The mean of no terms adds nothing, also if it is NaN.
    ///
    /// # Errors
    /// Fails if `mean` is not a scalar.
    pub fn add_mean(&mut self, mean: &Tensor, count: impl Into<Count>) -> Result<()> {
        let count = count.into();
        match &count {
            Count::Known(0) => return Ok(()),
            Count::Known(count) if mean.device() == Device::Cpu => {
                self.sum += mean.f_double_value(&[])? * *count as f64;
            }
            Count::Known(count) => self.add_sum(&(mean.detach() * *count as f64))?,
            Count::OnDevice(count) => {
                let sum = mean.detach().f_mul(count)?;
                self.add_sum(&sum.f_where_self(&count.f_ne(0)?, &sum.f_zeros_like()?)?)?;
            }
        }
        self.add_count(count)
    }

    fn add_sum(&mut self, sum: &Tensor) -> Result<()> {
        if sum.device() == Device::Cpu {
            self.sum += sum.f_double_value(&[])?;
            return Ok(());
        }
        let (pending, _) = &mut self.pending;
        *pending = Some(plus(pending.take(), &sum.detach())?);
        Ok(())
    }

    fn add_count(&mut self, count: Count) -> Result<()> {
        match count {
            Count::Known(count) => self.count += count,
            Count::OnDevice(count) => {
                let (_, pending) = &mut self.pending;
                *pending = Some(plus(pending.take(), &count)?);
            }
        }
        Ok(())
    }

    /// Returns the sum and the count so far. Synchronizes with the device.
    pub fn parts(&mut self) -> (f64, i64) {
        let (sum, count) = std::mem::take(&mut self.pending);
        self.sum += sum.map_or(0.0, |sum| sum.double_value(&[]));
        self.count += count.map_or(0, |count| count.int64_value(&[]));
        (self.sum, self.count)
    }

    /// Returns the mean; `None` if the count is 0. Synchronizes with the device.
    pub fn mean(&mut self) -> Option<f64> {
        let (sum, count) = self.parts();
        (count > 0).then(|| sum / count as f64)
    }
}

/// Returns the sum of two tensors, of which the first may be absent.
fn plus(first: Option<Tensor>, second: &Tensor) -> Result<Tensor> {
    Ok(match first {
        Some(first) => first.f_add(second)?,
        None => second.shallow_clone(),
    })
}

/// The share of correct predictions over any number of batches, exact for any sizes.
#[derive(Debug, Default)]
pub struct Accuracy(Running);

impl Accuracy {
    /// Adds a batch of scores (logits or probabilities), `[batch, classes]`, and int64 class indices, `[batch]`. Leaves out rows
    /// with the target -100. A row with a score of NaN is not correct.
    ///
    /// # Errors
    /// Fails if the shapes do not fit each other, the target is not of int64 or, on the CPU, a target is not a class.
    pub fn update(&mut self, prediction: &Tensor, target: &Tensor) -> Result<()> {
        let part = MetricName::Acc.sum(prediction, target)?;
        self.0.add(&part.sum, part.count)
    }

    /// Returns the share, in 0..=1; `None` before the first batch.
    pub fn compute(&mut self) -> Option<f64> {
        self.0.mean()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_uneven_batches_is_exact_for_logits_and_probabilities() {
        let logits = Tensor::from_slice(&[2f32, 1.0, 0.0, 3.0, 5.0, 4.0, -1.0, -2.0, -9.0, 9.0]).view([5, 2]);
        let target = Tensor::from_slice(&[0i64, 1, 1, 0, 1]); // hits: 1 1 0 1 1
        for scores in [logits.shallow_clone(), logits.softmax(-1, Kind::Float)] {
            let mut accuracy = Accuracy::default();
            assert_eq!(accuracy.compute(), None);
            accuracy.update(&scores.narrow(0, 0, 4), &target.narrow(0, 0, 4)).unwrap();
            assert_eq!(accuracy.compute(), Some(0.75));
            accuracy.update(&scores.narrow(0, 4, 1), &target.narrow(0, 4, 1)).unwrap();
            assert_eq!(accuracy.compute(), Some(0.8));
        }
    }

    #[test]
    fn accuracy_target_without_class_indices_fails() {
        let scores = Tensor::zeros([2, 3], tch::kind::FLOAT_CPU);
        for target in [
            Tensor::from_slice(&[0i64]),
            Tensor::from_slice(&[0f32, 1.0]),
            Tensor::from_slice(&[0i64, 1]).view([2, 1]),
        ] {
            assert!(Accuracy::default().update(&scores, &target).is_err());
        }
    }

    /// Expected values by hand from the formulas, over two uneven batches.
    #[test]
    fn sum_each_metric_over_batches_gives_value_of_formula() {
        let batches = [(vec![1.0, 2.0], vec![1.5, 2.0]), (vec![4.0], vec![1.0])];
        for (metric, expected) in [
            (MetricName::Mae, 3.5 / 3.0),
            (MetricName::Mse, 9.25 / 3.0),
            (MetricName::Rmse, (9.25f64 / 3.0).sqrt()),
            (MetricName::Mape, 100.0 * (0.5 / 1.5 + 3.0) / 3.0),
            (MetricName::Smape, 200.0 * (0.5 / 2.5 + 3.0 / 5.0) / 3.0),
        ] {
            let mut running = Running::default();
            for (p, y) in &batches {
                let part = metric.sum(&Tensor::from_slice(p), &Tensor::from_slice(y)).unwrap();
                running.add(&part.sum, part.count).unwrap();
            }
            let got = metric.finish(running.mean().unwrap());
            assert!((got - expected).abs() < 1e-12, "{metric:?}: {got} is not {expected}");
        }
    }

    #[test]
    fn running_from_parts_continues_mean() {
        let mut running = Running::default();
        running.add(&Tensor::from(3.0), 2).unwrap();
        let (sum, count) = running.parts();
        let mut resumed = Running::from_parts(sum, count);
        resumed.add(&Tensor::from(5.0), 2).unwrap();
        assert_eq!(resumed.mean(), Some(2.0));
    }
}
