//! Scaling of series, fitted on the training split only.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use text_recognizer::{Error, Result};

/// The scaling of the values before a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Scaling {
    /// No scaling.
    None,
    /// Scale to mean 0 and std 1.
    Standard,
    /// Scale to the range 0 to 1.
    Minmax,
}

/// The scaling `(x - shift) / scale`, with one shift and one scale per column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    shift: Vec<f64>,
    scale: Vec<f64>,
}

impl Scaler {
    /// Returns whether every shift is finite and every scale is finite and positive, with one of each per column.
    pub fn is_valid(&self) -> bool {
        self.shift.len() == self.scale.len()
            && self.shift.iter().all(|shift| shift.is_finite())
            && self.scale.iter().all(|scale| scale.is_finite() && *scale > 0.0)
    }

    /// Returns the number of columns.
    pub fn columns(&self) -> usize {
        self.shift.len()
    }

    /// Fits the scaling to the training split, `[rows, columns]`. `Standard` uses the mean and the std without Bessel's
    /// correction; `Minmax` uses the minimum and the range. A constant column has scale 1.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn fit(scaling: Scaling, training: &Tensor) -> Result<Self> {
        let columns = training.size()[1] as usize;
        let x = training.f_to_kind(Kind::Double)?;
        let (shift, scale) = match scaling {
            Scaling::None => return Ok(Self { shift: vec![0.0; columns], scale: vec![1.0; columns] }),
            Scaling::Standard => (x.f_mean_dim(0, false, Kind::Double)?, x.f_std_dim(0, false, false)?),
            Scaling::Minmax => {
                let min = x.f_amin(0, false)?;
                let range = x.f_amax(0, false)?.f_sub(&min)?;
                (min, range)
            }
        };
        let scale = Vec::<f64>::try_from(scale)?;
        let scale = scale.into_iter().map(|scale| if scale > 0.0 { scale } else { 1.0 }).collect();
        Ok(Self { shift: Vec::<f64>::try_from(shift)?, scale })
    }

    /// Returns `values` as a tensor with the dtype and the device of `like`.
    fn row(values: &[f64], like: &Tensor) -> Result<Tensor> {
        Ok(Tensor::f_from_slice(values)?.f_to_kind(like.kind())?.f_to_device(like.device())?)
    }

    /// Checks the last dimension of `x`, because libtorch would broadcast another number of columns without an error.
    fn check(&self, x: &Tensor) -> Result<()> {
        let columns = self.shift.len();
        match x.size().last() {
            Some(&last) if last == columns as i64 => Ok(()),
            _ => Err(Error::shape("Scaler", format!("[..., {columns}], one value per column"), &x.size())),
        }
    }

    /// Scales `x: [..., columns] -> [..., columns]`.
    ///
    /// # Errors
    /// Fails if the last dimension of `x` is not the number of columns.
    pub fn transform(&self, x: &Tensor) -> Result<Tensor> {
        self.check(x)?;
        Ok(x.f_sub(&Self::row(&self.shift, x)?)?.f_div(&Self::row(&self.scale, x)?)?)
    }

    /// Undoes [`Scaler::transform`]: `x: [..., columns] -> [..., columns]`, in the units of the series.
    ///
    /// # Errors
    /// Fails if the last dimension of `x` is not the number of columns.
    pub fn inverse(&self, x: &Tensor) -> Result<Tensor> {
        self.check(x)?;
        Ok(x.f_mul(&Self::row(&self.scale, x)?)?.f_add(&Self::row(&self.shift, x)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_of_every_scaling_restores_the_values_and_keeps_constants_finite() {
        let x = Tensor::from_slice(&[1f64, 7.0, 2.0, 7.0, 6.0, 7.0]).view([3, 2]);
        for scaling in [Scaling::None, Scaling::Standard, Scaling::Minmax] {
            let scaler = Scaler::fit(scaling, &x).unwrap();
            let scaled = scaler.transform(&x).unwrap();
            assert!(
                (scaler.inverse(&scaled).unwrap() - &x).abs().max().double_value(&[]) < 1e-12,
                "{scaling:?}"
            );
            let column = Vec::<f64>::try_from(scaled.select(1, 0)).unwrap();
            match scaling {
                Scaling::None => assert_eq!(column, [1.0, 2.0, 6.0]),
                Scaling::Standard => assert!(column.iter().sum::<f64>().abs() < 1e-12),
                Scaling::Minmax => assert_eq!(column, [0.0, 0.2, 1.0]),
            }
        }
    }

    #[test]
    fn transform_of_another_number_of_columns_is_an_error() {
        for (fitted, given) in [(3, 1), (1, 3), (2, 3)] {
            let scaler =
                Scaler::fit(Scaling::Standard, &Tensor::rand([9, fitted], tch::kind::FLOAT_CPU)).unwrap();
            let x = Tensor::rand([4, given], tch::kind::FLOAT_CPU);
            for result in [scaler.transform(&x), scaler.inverse(&x)] {
                let error = result.unwrap_err().to_string();
                assert!(error.contains(&format!("[..., {fitted}]")), "{error}");
            }
        }
    }
}
