//! Losses: the mean over a batch that the optimizer minimizes.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};

use super::count::{Count, IGNORED, counted_rows};
use crate::error::{Error, Result};

/// A loss: the mean over a batch that the optimizer minimizes.
///
/// ```
/// use text_recognizer::prelude::*;
/// use text_recognizer::tch::{Kind, Tensor, kind};
///
/// /// The log-cosh loss of Keras, which is close to the squared error for small errors and to the absolute for large.
/// #[derive(Debug)]
/// struct LogCosh;
///
/// impl Loss for LogCosh {
///     fn compute(&self, prediction: &Tensor, target: &Tensor) -> text_recognizer::Result<Tensor> {
///         Ok((prediction - target).f_cosh()?.f_log()?.f_mean(prediction.kind())?)
///     }
/// }
///
/// let data = DataSpec { input_dims: vec![4], output_dims: vec![2], ..DataSpec::default() };
/// let model = Mlp::new(&MlpConfig::default(), &data, Placement::cpu(42))?;
/// let config = LitConfig { loss: LossName::Mse, ..LitConfig::default() };
/// let lit = BaseLitModel::new(Box::new(model), config)?.with_loss(LogCosh);
///
/// let (x, y) = (Tensor::rand([3, 4], kind::FLOAT_CPU), Tensor::zeros([3, 2], kind::FLOAT_CPU));
/// let batch = Batch { x, y, rows: vec![0, 1, 2] };
/// let output = lit.step(&batch, &mut ForwardContext::eval())?;
/// assert!(output.loss.double_value(&[]) > 0.0);
/// # Ok::<(), text_recognizer::Error>(())
/// ```
pub trait Loss: Debug {
    /// Returns the mean loss of a batch, a scalar that autograd can differentiate.
    ///
    /// # Errors
    /// Fails if the shapes of `prediction` and `target` do not fit each other.
    fn compute(&self, prediction: &Tensor, target: &Tensor) -> Result<Tensor>;

    /// Returns the number of rows that the mean of [`Loss::compute`] is over, by default all rows. A loss that leaves rows out
    /// replaces this: the mean over many batches is weighted by this number, and a batch with the number 0 adds nothing.
    ///
    /// # Errors
    /// Fails if the shapes of `prediction` and `target` do not fit each other.
    fn rows(&self, _prediction: &Tensor, target: &Tensor) -> Result<Count> {
        Ok(all_rows(target))
    }
}

/// The losses of this library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum), value(rename_all = "snake_case"))]
#[serde(rename_all = "snake_case")]
pub enum LossName {
    /// Cross entropy of logits `[batch, classes]` and class indices `[batch]`.
    CrossEntropy,
    /// Mean squared error: the mean of `(y - p)^2`.
    Mse,
    /// Mean absolute error: the mean of `|y - p|`.
    Mae,
    /// Huber loss with delta 1, as `torch.nn.HuberLoss`.
    Huber,
    /// Mean absolute percentage error: the mean of `100 |y - p| / max(|y|, 1e-7)`, as in Keras.
    Mape,
    /// Symmetric mean absolute percentage error: the mean of `200 |y - p| / max(|y| + |p|, 1e-7)`.
    Smape,
    /// Mean pinball loss of quantiles, with one output per quantile, for forecasting only.
    Quantile,
}

/// The smallest denominator of a percentage error; Keras' `epsilon()`.
const EPSILON: f64 = 1e-7;

impl Loss for LossName {
    /// Returns the loss. All losses except the cross entropy and that of quantiles, which is an error, need `prediction` and `target` of the same shape: nothing is
    /// broadcast. A prediction of NaN, and a target of NaN, gives a loss of NaN.
    ///
    /// The cross entropy is the mean over the rows whose target is not [`IGNORED`]; without such rows it is 0, and so are its
    /// gradients. (PyTorch's is NaN then.) On the CPU a target that is neither a class nor [`IGNORED`] is an error.
    fn compute(&self, prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
        if *self == Self::CrossEntropy {
            let loss =
                |reduction| prediction.f_cross_entropy_loss::<Tensor>(target, None, reduction, IGNORED, 0.0);
            return Ok(match counted_rows(prediction, target)? {
                Count::Known(0) => loss(Reduction::Sum)?,
                Count::Known(_) => loss(Reduction::Mean)?,
                Count::OnDevice(rows) | Count::Weights(rows) => {
                    loss(Reduction::Sum)?.f_div(&rows.f_clamp_min(1)?)?
                }
            });
        }
        if *self == Self::Quantile {
            let expected = "a loss with one output per value; try QuantileLoss, which has the quantiles";
            return Err(Error::invalid("loss", "quantile", expected));
        }
        check_same(prediction, target)?;
        Ok(match self {
            Self::CrossEntropy | Self::Quantile | Self::Mse => {
                prediction.f_mse_loss(target, Reduction::Mean)?
            }
            Self::Mae => prediction.f_l1_loss(target, Reduction::Mean)?,
            Self::Huber => prediction.f_huber_loss(target, Reduction::Mean, 1.0)?,
            Self::Mape => percentage_errors(prediction, target)?.f_mean(prediction.kind())?,
            Self::Smape => symmetric_percentage_errors(prediction, target)?.f_mean(prediction.kind())?,
        })
    }

    fn rows(&self, prediction: &Tensor, target: &Tensor) -> Result<Count> {
        match self {
            Self::CrossEntropy => counted_rows(prediction, target),
            _ => Ok(all_rows(target)),
        }
    }
}

/// Returns the number of rows of a batch.
pub(super) fn all_rows(target: &Tensor) -> Count {
    target.size().first().copied().unwrap_or(1).into()
}

/// Returns `100 |y - p| / max(|y|, epsilon)`, as `keras.losses.mean_absolute_percentage_error`.
pub(super) fn percentage_errors(prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
    Ok((target - prediction).f_abs()?.f_div(&target.f_abs()?.f_clamp_min(EPSILON)?)? * 100.0)
}

/// Returns `200 |y - p| / max(|y| + |p|, epsilon)`: Makridakis and Hibon, "The M3-Competition", 2000.
pub(super) fn symmetric_percentage_errors(prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
    let scale = (target.f_abs()? + prediction.f_abs()?).f_clamp_min(EPSILON)?;
    Ok((target - prediction).f_abs()?.f_div(&scale)? * 200.0)
}

/// Checks that the prediction and the target have the same shape.
pub(super) fn check_same(prediction: &Tensor, target: &Tensor) -> Result<()> {
    if prediction.size() != target.size() {
        let expected = format!("{:?}, that of the target", target.size());
        return Err(Error::shape("the prediction", expected, &prediction.size()));
    }
    Ok(())
}

/// Checks that the prediction is `[batch, classes]` and the target `[batch]` of class indices.
pub(super) fn check_classes(prediction: &Tensor, target: &Tensor) -> Result<()> {
    let (p, t) = (prediction.size(), target.size());
    if p.len() != 2 || t.len() != 1 || p[0] != t[0] || target.kind() != Kind::Int64 {
        let expected = format!(
            "[batch, classes] for int64 class indices [batch] (the target is {:?} {t:?})",
            target.kind()
        );
        return Err(Error::shape("the prediction", expected, &p));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(values: &[f64]) -> Tensor {
        Tensor::from_slice(values)
    }

    /// Expected values by hand from the formulas.
    #[test]
    fn compute_each_loss_returns_value_of_formula() {
        let (p, y) = (t(&[1.0, 2.0, 4.0]), t(&[1.5, 2.0, 1.0]));
        for (loss, expected) in [
            (LossName::Mse, (0.25 + 9.0) / 3.0),
            (LossName::Mae, 3.5 / 3.0),
            (LossName::Huber, (0.125 + 2.5) / 3.0),
            (LossName::Mape, 100.0 * (0.5 / 1.5 + 3.0) / 3.0),
            (LossName::Smape, 200.0 * (0.5 / 2.5 + 3.0 / 5.0) / 3.0),
        ] {
            let got = loss.compute(&p, &y).unwrap().double_value(&[]);
            assert!((got - expected).abs() < 1e-12, "{loss:?}: {got} is not {expected}");
        }
        let logits = t(&[0.0, 0.0]).view([1, 2]);
        let got = LossName::CrossEntropy.compute(&logits, &Tensor::from_slice(&[1i64])).unwrap();
        assert!((got.double_value(&[]) - 2f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn compute_other_shape_fails_and_is_not_broadcast() {
        let (steps, label) =
            (Tensor::zeros([4, 20, 1], tch::kind::FLOAT_CPU), Tensor::zeros([4, 1], tch::kind::FLOAT_CPU));
        for loss in [
            LossName::Mse,
            LossName::Mae,
            LossName::Huber,
            LossName::Mape,
            LossName::Smape,
            LossName::CrossEntropy,
        ] {
            let error = loss.compute(&steps, &label).unwrap_err().to_string();
            assert!(error.contains("[4, 20, 1]") && error.contains("[4, 1]"), "{loss:?}: {error}");
        }
    }
}
