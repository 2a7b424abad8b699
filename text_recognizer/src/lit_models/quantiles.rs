//! The loss of quantile regression.

use tch::Tensor;

use super::count::Count;
use super::losses::{Loss, all_rows};
use crate::error::{Error, Result};

/// The mean of the pinball losses of quantiles (Koenker and Bassett, "Regression Quantiles", 1978): the mean of
/// `max(q (y - p), (q - 1) (y - p))` over all quantiles `q` and all targets `y`, without another factor. It is least if `p` is the
/// quantile `q` of `y`; with the quantile 0.5 alone it is half of the mean absolute error.
///
/// ```
/// use text_recognizer::lit_models::{Loss, QuantileLoss};
/// use text_recognizer::tch::Tensor;
///
/// let loss = QuantileLoss::new(&[0.1, 0.5, 0.9])?;
/// let prediction = Tensor::from_slice(&[1.0, 2.0, 3.0]).view([3, 1]);
/// let found = loss.compute(&prediction, &Tensor::from_slice(&[4.0]))?;
/// assert!((found.double_value(&[]) - (0.1 * 3.0 + 0.5 * 2.0 + 0.9 * 1.0) / 3.0).abs() < 1e-12);
/// # Ok::<(), text_recognizer::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct QuantileLoss {
    quantiles: Vec<f64>,
}

impl QuantileLoss {
    /// The most quantiles, which bounds the size of a model.
    pub const MOST: usize = 99;
    /// The quantile that is the forecast: the median.
    pub const MEDIAN: f64 = 0.5;

    /// Creates the loss of these quantiles.
    ///
    /// # Errors
    /// Fails if they are not between 0 and 1, not ascending, too many, or if 0.5 is not among them.
    pub fn new(quantiles: &[f64]) -> Result<Self> {
        let failed = |expected: &str| {
            let found: Vec<String> = quantiles.iter().take(Self::MOST).map(f64::to_string).collect();
            Err(Error::invalid("quantiles", found.join(" "), expected))
        };
        if quantiles.len() > Self::MOST {
            return failed("at most 99 numbers");
        }
        if !quantiles.iter().all(|quantile| (f64::MIN_POSITIVE..1.0).contains(quantile)) {
            return failed("numbers above 0 and below 1, such as 0.1 0.5 0.9");
        }
        if !quantiles.is_sorted_by(|a, b| a < b) {
            return failed("ascending numbers, such as 0.1 0.5 0.9");
        }
        if !quantiles.contains(&Self::MEDIAN) {
            return failed("0.5 among them, because the median is the forecast; try 0.1 0.5 0.9");
        }
        Ok(Self { quantiles: quantiles.to_vec() })
    }

    /// Returns the mean pinball loss of each quantile, `[quantiles]`. `prediction` is `[quantiles, ...]` and `target` is `[...]`. The
    /// mean leaves out targets and predictions of NaN; that of no values is NaN.
    ///
    /// # Errors
    /// Fails if the shapes do not fit each other.
    pub fn each(&self, prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
        let losses = self.losses(prediction, target)?.f_flatten(1, -1)?;
        Ok(losses.f_nanmean(1, false, losses.kind())?)
    }

    /// Returns the loss of each value, `[quantiles, ...]`.
    fn losses(&self, prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
        let count = self.quantiles.len() as i64;
        let size = target.size();
        if prediction.size() != [&[count], &size[..]].concat() {
            let expected = format!("[{count}, ...] for the {count} quantiles of a target {size:?}");
            return Err(Error::shape("the prediction", expected, &prediction.size()));
        }
        let quantiles = Tensor::f_from_slice(&self.quantiles)?.f_to_device(target.device())?;
        let shape = [vec![count], vec![1; size.len()]].concat();
        let quantiles = quantiles.f_to_kind(prediction.kind())?.f_view(&shape[..])?;
        let errors = target.f_sub(prediction)?;
        Ok(errors.f_mul(&quantiles)?.f_maximum(&errors.f_mul(&quantiles.f_sub_scalar(1.0)?)?)?)
    }
}

impl Loss for QuantileLoss {
    /// Returns the loss. `prediction` is `[quantiles, ...]` and `target` is `[...]`.
    fn compute(&self, prediction: &Tensor, target: &Tensor) -> Result<Tensor> {
        Ok(self.losses(prediction, target)?.f_mean(prediction.kind())?)
    }

    fn rows(&self, _prediction: &Tensor, target: &Tensor) -> Result<Count> {
        Ok(all_rows(target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_with_impossible_quantiles_is_an_error() {
        for (quantiles, part) in [
            (&[0.0, 0.5][..], "above 0 and below 1"),
            (&[0.5, 1.0], "above 0 and below 1"),
            (&[0.5, f64::NAN], "above 0 and below 1"),
            (&[0.9, 0.5], "ascending"),
            (&[0.5, 0.5], "ascending"),
            (&[0.1, 0.9], "0.5 among them"),
            (&[], "0.5 among them"),
            (&[0.5; 100], "at most 99"),
        ] {
            let error = QuantileLoss::new(quantiles).unwrap_err().to_string();
            assert!(error.contains(part), "{quantiles:?}: {error}");
        }
    }

    /// Made with PyTorch 2.13.0:
    ///
    /// ```python
    /// y = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)
    /// p = torch.tensor([[[0.0, -3.0], [1.0, 3.5]], [[1.5, -1.0], [0.0, 4.0]], [[2.0, 0.5], [0.75, 2.5]]], dtype=torch.float64)
    /// p.requires_grad_()
    /// q = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64).view(3, 1, 1)
    /// error = y - p
    /// losses = torch.where(error >= 0, q * error, (q - 1) * error)
    /// losses.mean().backward()
    /// print(losses.mean().item(), losses.mean((1, 2)).tolist(), (p.grad.flatten() * 120).tolist())
    /// ```
    #[test]
    fn loss_and_gradients_are_those_of_pytorch() {
        let target = Tensor::from_slice(&[1.0, -2.0, 0.5, 3.0]).view([2, 2]);
        let values = [0.0, -3.0, 1.0, 3.5, 1.5, -1.0, 0.0, 4.0, 2.0, 0.5, 0.75, 2.5];
        let prediction = Tensor::from_slice(&values).view([3, 2, 2]).set_requires_grad(true);
        let loss = QuantileLoss::new(&[0.1, 0.5, 0.9]).unwrap();
        let found = loss.compute(&prediction, &target).unwrap();
        let each = Vec::<f64>::try_from(loss.each(&prediction.detach(), &target).unwrap()).unwrap();
        let gradients = Tensor::run_backward(&[&found], &[&prediction], false, false);
        let gradients = Vec::<f64>::try_from(gradients[0].view(-1) * 120.0).unwrap();
        let close = |found: &[f64], expected: &[f64]| {
            found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12)
        };
        assert!(close(&[found.double_value(&[])], &[0.285_416_666_666_666_65]), "{found:?}");
        assert!(close(&each, &[0.275, 0.375, 0.206_25]), "{each:?}");
        let expected = [-1.0, -1.0, 9.0, 9.0, 5.0, 5.0, -5.0, 5.0, 1.0, 1.0, 1.0, -9.0];
        assert!(close(&gradients, &expected), "{gradients:?}");
    }

    #[test]
    fn each_leaves_out_missing_values() {
        let target = Tensor::from_slice(&[f64::NAN, 1.0]);
        let prediction = Tensor::from_slice(&[0.0, 0.0]).view([1, 2]);
        let loss = QuantileLoss::new(&[0.5]).unwrap();
        assert_eq!(Vec::<f64>::try_from(loss.each(&prediction, &target).unwrap()).unwrap(), [0.5]);
        let error = loss.compute(&target, &target).unwrap_err().to_string();
        assert!(error.contains("1 quantiles of a target [2]"), "{error}");
    }
}
