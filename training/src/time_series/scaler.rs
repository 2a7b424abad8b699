//! Scaling of series, fitted on their training part alone.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use text_recognizer::{Error, Result};

/// What is done to the values before a network sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Scaling {
    /// Nothing.
    None,
    /// Mean 0 and standard deviation 1.
    Standard,
    /// To 0..=1.
    Minmax,
}

/// `(x - shift) / scale`, a shift and a scale for each column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    shift: Vec<f64>,
    scale: Vec<f64>,
}

impl Scaler {
    /// Fits to the training part, `[time, columns]`. A constant column is shifted and left at its scale.
    ///
    /// # Errors
    /// When libtorch refuses.
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

    fn row(values: &[f64], like: &Tensor) -> Result<Tensor> {
        Ok(Tensor::f_from_slice(values)?.f_to_kind(like.kind())?.f_to_device(like.device())?)
    }

    /// A column too few or too many would be broadcast, and come back as numbers of another column.
    fn check(&self, x: &Tensor) -> Result<()> {
        let columns = self.shift.len();
        match x.size().last() {
            Some(&last) if last == columns as i64 => Ok(()),
            _ => Err(Error::shape("Scaler", format!("[..., {columns}], one for each column"), &x.size())),
        }
    }

    /// Scales `[..., columns]`.
    ///
    /// # Errors
    /// When the last dimension is not the columns.
    pub fn transform(&self, x: &Tensor) -> Result<Tensor> {
        self.check(x)?;
        Ok(x.f_sub(&Self::row(&self.shift, x)?)?.f_div(&Self::row(&self.scale, x)?)?)
    }

    /// Undoes [`Scaler::transform`].
    ///
    /// # Errors
    /// When the last dimension is not the columns.
    pub fn inverse(&self, x: &Tensor) -> Result<Tensor> {
        self.check(x)?;
        Ok(x.f_mul(&Self::row(&self.scale, x)?)?.f_add(&Self::row(&self.shift, x)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scaling_is_undone_and_constants_stay_finite() {
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
    fn other_columns_are_refused_and_not_broadcast() {
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
