//! Metrics: sums over batches, so that the value of an epoch is exact for any batch sizes.

use std::fmt::Debug;

use tch::{Device, Kind, Tensor};

use super::count::{Count, counted_rows};
use super::losses::{check_same, percentage_errors, symmetric_percentage_errors};
use super::running::Running;
use crate::error::{Error, Result};

/// A metric, computed per batch as a sum and a number of terms.
///
/// The value of an epoch is the sum of all sums divided by the sum of all counts. It is exact over batches of any sizes and over
/// several processes. A metric with several groups, such as the columns of a series, has a sum and a weight per group; its value
/// is the mean of the values of its groups, without those of weight 0.
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

    /// Returns the number of groups that have a sum of their own, by default one.
    fn groups(&self) -> usize {
        1
    }

    /// Returns the sum over a batch, and the number of its terms.
    ///
    /// # Errors
    /// Fails if the shapes of `prediction` and `target` do not fit each other.
    fn sum(&self, prediction: &Tensor, target: &Tensor) -> Result<MetricSum>;

    /// Returns the value of the metric, or of one of its groups, from the mean over all batches; by default the mean itself.
    fn finish(&self, mean: f64) -> f64 {
        mean
    }
}

/// The sum of a metric over one batch.
#[derive(Debug)]
pub struct MetricSum {
    /// The sum, a scalar on the batch's device; `[groups]` for a metric with several groups.
    pub sum: Tensor,
    /// The number of terms of the sum, or the weights of the groups.
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
    /// Mean absolute percentage error, in percent, over the targets that are not 0.
    Mape,
    /// Symmetric mean absolute percentage error, in percent.
    Smape,
    /// Weighted absolute percentage error, in percent: the sum of the absolute errors divided by that of the absolute targets.
    Wape,
}

impl MetricName {
    /// The metrics of numbers: all except accuracy.
    pub const OF_NUMBERS: [Self; 6] = [Self::Mae, Self::Mse, Self::Rmse, Self::Mape, Self::Smape, Self::Wape];

    /// Returns the term of each element and its weight; `None` for weights of 1.
    fn terms(self, prediction: &Tensor, target: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        check_same(prediction, target)?;
        Ok(match self {
            Self::Acc | Self::Mae => ((prediction - target).f_abs()?, None),
            Self::Mse | Self::Rmse => ((prediction - target).f_square()?, None),
            Self::Mape => {
                let counts = target.f_ne(0.0)?;
                let errors = percentage_errors(prediction, target)?.f_where_scalarother(&counts, 0.0)?;
                (errors, Some(counts))
            }
            Self::Smape => (symmetric_percentage_errors(prediction, target)?, None),
            Self::Wape => ((prediction - target).f_abs()?, Some(target.f_abs()?)),
        })
    }

    /// Returns the metric with a group per column of a series.
    pub fn by_column(self, columns: usize) -> ByColumn {
        ByColumn { metric: self, columns }
    }
}

/// Returns the dtype of sums on the device of a tensor.
fn sum_kind(of: &Tensor) -> Kind {
    if of.device() == Device::Mps { Kind::Float } else { Kind::Double }
}

/// A metric of `[..., columns]` per column. Leaves out elements whose target is NaN, a missing value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByColumn {
    metric: MetricName,
    columns: usize,
}

impl Metric for ByColumn {
    fn name(&self) -> &str {
        self.metric.name()
    }

    fn groups(&self) -> usize {
        self.columns
    }

    /// Returns the sums of the columns, `[columns]`. `Acc`, which has no columns, is an error.
    fn sum(&self, prediction: &Tensor, target: &Tensor) -> Result<MetricSum> {
        if self.metric == MetricName::Acc {
            return Err(Error::invalid("metric", "acc", "a metric of numbers"));
        }
        let columns = self.columns as i64;
        if target.size().last() != Some(&columns) {
            return Err(Error::shape("the target", format!("[..., {columns}]"), &target.size()));
        }
        let (errors, weights) = self.metric.terms(prediction, target)?;
        let present = target.f_isnan()?.f_logical_not()?;
        let weights = match weights {
            Some(weights) => weights.f_where_scalarother(&present, 0.0)?,
            None => present.shallow_clone(),
        };
        let sum = |terms: &Tensor| {
            terms.f_reshape([-1, columns])?.f_sum_dim_intlist(0i64, false, sum_kind(&errors))
        };
        Ok(MetricSum {
            sum: sum(&errors.f_where_scalarother(&present, 0.0)?)?,
            count: Count::Weights(sum(&weights)?),
        })
    }

    fn finish(&self, mean: f64) -> f64 {
        self.metric.finish(mean)
    }
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
            Self::Wape => "wape",
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
        let (errors, weights) = self.terms(prediction, target)?;
        let kind = sum_kind(&errors);
        let count = match weights {
            Some(weights) => Count::Weights(weights.f_sum(kind)?),
            None => (target.numel() as i64).into(),
        };
        Ok(MetricSum { sum: errors.f_sum(kind)?, count })
    }

    fn finish(&self, mean: f64) -> f64 {
        match self {
            Self::Rmse => mean.sqrt(),
            Self::Wape => 100.0 * mean,
            _ => mean,
        }
    }
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
    use super::super::mean_of_groups;
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
            (MetricName::Wape, 100.0 * 3.5 / 4.5),
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
    fn mape_leaves_out_targets_of_zero_and_is_none_without_others() {
        let mape = |p: &[f64], y: &[f64]| {
            let part = MetricName::Mape.sum(&Tensor::from_slice(p), &Tensor::from_slice(y)).unwrap();
            let mut running = Running::default();
            running.add(&part.sum, part.count).unwrap();
            running.mean()
        };
        assert_eq!(mape(&[3.0, 1.0, 5.0], &[0.0, 2.0, 4.0]), Some(37.5));
        assert_eq!(mape(&[3.0, 1.0], &[0.0, 0.0]), None);
    }

    /// Column a has the targets 2, 0 and 4, column b only 10, and column c none. Expected values by hand.
    #[test]
    fn by_column_is_the_mean_over_columns_of_their_present_values_for_any_batches() {
        let nan = f64::NAN;
        let y = Tensor::from_slice(&[2.0, nan, nan, 0.0, 10.0, nan, 4.0, nan, nan]).view([3, 1, 3]);
        let p = Tensor::from_slice(&[1.0, 0.0, 0.0, 3.0, 15.0, 0.0, 6.0, 0.0, 0.0]).view([3, 1, 3]);
        for (metric, expected) in [
            (MetricName::Mae, (2.0 + 5.0) / 2.0),
            (MetricName::Mse, (14.0 / 3.0 + 25.0) / 2.0),
            (MetricName::Rmse, ((14f64 / 3.0).sqrt() + 5.0) / 2.0),
            (MetricName::Mape, (50.0 + 50.0) / 2.0),
            (MetricName::Smape, (200.0 * (1.0 / 3.0 + 1.0 + 0.2) / 3.0 + 200.0 * 0.2) / 2.0),
            (MetricName::Wape, (100.0 + 50.0) / 2.0),
        ] {
            let metric = metric.by_column(3);
            for sizes in [&[3][..], &[1, 1, 1], &[2, 1]] {
                let (mut running, mut start) = (Running::default(), 0);
                for &size in sizes {
                    let part = metric.sum(&p.narrow(0, start, size), &y.narrow(0, start, size)).unwrap();
                    running.add(&part.sum, part.count).unwrap();
                    start += size;
                }
                let got = mean_of_groups(running.parts(), |mean| metric.finish(mean)).unwrap();
                assert!((got - expected).abs() < 1e-12, "{metric:?}: {got} is not {expected}");
            }
        }
        assert!(MetricName::Mae.by_column(2).sum(&p, &y).is_err());
        assert!(MetricName::Acc.by_column(3).sum(&p, &y).is_err());
    }
}
