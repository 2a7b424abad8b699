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
    /// correction; `Minmax` uses the minimum and the range. A constant column has scale 1. Missing values (NaN) are left out.
    ///
    /// # Errors
    /// Fails if a column has no value.
    pub fn fit(scaling: Scaling, training: &Tensor) -> Result<Self> {
        let columns = training.size()[1] as usize;
        if scaling == Scaling::None {
            return Ok(Self { shift: vec![0.0; columns], scale: vec![1.0; columns] });
        }
        let x = training.f_to_kind(Kind::Double)?;
        let missing = x.f_isnan()?;
        let count = missing.f_logical_not()?.f_sum_dim_intlist(0, false, Kind::Double)?;
        if let Some(column) = Vec::<f64>::try_from(&count)?.iter().position(|count| *count == 0.0) {
            let expected = "at least one in the training split; try --value_columns or another --split_time";
            return Err(Error::invalid(format!("the number of values of column {column}"), 0, expected));
        }
        let mean = |x: &Tensor| x.f_nansum(0, false, Kind::Double)?.f_div(&count);
        let (shift, scale) = if scaling == Scaling::Minmax {
            let without = |value: f64| x.f_masked_fill(&missing, value);
            let min = without(f64::INFINITY)?.f_amin(0, false)?;
            let range = without(f64::NEG_INFINITY)?.f_amax(0, false)?.f_sub(&min)?;
            (min, range)
        } else {
            let shift = mean(&x)?;
            let scale = mean(&x.f_sub(&shift)?.f_square()?)?.f_sqrt()?;
            (shift, scale)
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
    fn fit_of_values_with_gaps_equals_that_without_the_gaps() {
        let (gap, all) = (f64::NAN, [1.0, 2.0, 6.0, 8.0]);
        let gaps = Tensor::from_slice(&[gap, 1.0, 2.0, gap, 6.0, 8.0, gap]).view([-1, 1]);
        for scaling in [Scaling::Standard, Scaling::Minmax] {
            let expected = Scaler::fit(scaling, &Tensor::from_slice(&all).view([-1, 1])).unwrap();
            assert_eq!(Scaler::fit(scaling, &gaps).unwrap(), expected);
            let error = Scaler::fit(scaling, &gaps.narrow(0, 0, 1)).unwrap_err().to_string();
            assert!(error.contains("values of column 0 is 0"), "{error}");
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
