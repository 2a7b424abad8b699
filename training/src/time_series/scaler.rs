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
    /// Scale to mean 0 and std 1, then each window by its own mean and std.
    Window,
    /// Scale to mean 0 and std 1, then subtract from each window its last value.
    Last,
}

/// The scaling `(x - shift) / scale`, with one shift and one scale per column, and a scaling of each window on top of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    shift: Vec<f64>,
    scale: Vec<f64>,
    /// `None` also in a checkpoint of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    per_window: Option<PerWindow>,
}

/// The scaling of a window by its own values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PerWindow {
    /// By its mean and std: Kim et al., "Reversible Instance Normalization for Accurate Time-Series Forecasting against
    /// Distribution Shift" (RevIN), 2022, without the affine weights.
    Window,
    /// By its last value: Zeng et al., "Are Transformers Effective for Time Series Forecasting?" (NLinear), 2023.
    Last,
}

impl PerWindow {
    fn of(scaling: Scaling) -> Option<Self> {
        match scaling {
            Scaling::Window => Some(Self::Window),
            Scaling::Last => Some(Self::Last),
            Scaling::None | Scaling::Standard | Scaling::Minmax => None,
        }
    }
}

/// The value that RevIN adds to the variance of a window. It keeps the scale of a constant window above 0.
const EPSILON: f64 = 1e-5;

/// The scaling of each window of a batch by its own values.
#[derive(Debug)]
pub struct WindowScaler {
    /// `[batch, 1, columns]`.
    shift: Tensor,
    /// `[batch, 1, columns]`; `None` for a scale of 1.
    scale: Option<Tensor>,
}

impl WindowScaler {
    /// Scales windows or targets, `x: [batch, time, columns] -> [batch, time, columns]`.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn transform(&self, x: &Tensor) -> Result<Tensor> {
        let shifted = x.f_sub(&self.shift)?;
        Ok(self.scale.as_ref().map(|scale| shifted.f_div(scale)).transpose()?.unwrap_or(shifted))
    }

    /// Undoes [`WindowScaler::transform`].
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn inverse(&self, x: &Tensor) -> Result<Tensor> {
        let scaled = self.scale.as_ref().map(|scale| x.f_mul(scale)).transpose()?;
        Ok(scaled.as_ref().unwrap_or(x).f_add(&self.shift)?)
    }
}

impl Scaler {
    /// Returns whether every shift is finite and every scale is finite and positive, with one of each per column.
    pub fn is_valid(&self) -> bool {
        self.shift.len() == self.scale.len()
            && self.shift.iter().all(|shift| shift.is_finite())
            && self.scale.iter().all(|scale| scale.is_finite() && *scale > 0.0)
    }

    /// Returns the scaling of a model of many series, whose values reach it scaled by those of their series: only that of windows.
    pub fn of_scaled(scaling: Scaling, columns: usize) -> Self {
        let (shift, scale) = (vec![0.0; columns], vec![1.0; columns]);
        Self { shift, scale, per_window: PerWindow::of(scaling) }
    }

    /// Returns the shift and the scale of each column.
    pub fn parts(&self) -> (&[f64], &[f64]) {
        (&self.shift, &self.scale)
    }

    /// Returns the number of columns.
    pub fn columns(&self) -> usize {
        self.shift.len()
    }

    /// Fits the scaling to the training split, `[rows, columns]`. `Minmax` uses the minimum and the range; all others use the mean
    /// and the std without Bessel's correction. A constant column has scale 1. Missing values (NaN) are left out.
    ///
    /// # Errors
    /// Fails if a column has no value, or values that are too large.
    pub fn fit(scaling: Scaling, training: &Tensor) -> Result<Self> {
        let columns = training.size()[1] as usize;
        if scaling == Scaling::None {
            return Ok(Self { shift: vec![0.0; columns], scale: vec![1.0; columns], per_window: None });
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
        let per_window = PerWindow::of(scaling);
        let (shift, scale) = (Vec::<f64>::try_from(shift)?, Vec::<f64>::try_from(scale)?);
        let is_finite = |column: &usize| shift[*column].is_finite() && scale[*column].is_finite();
        if let Some(column) = (0..columns).find(|column| !is_finite(column)) {
            let expected = "a finite number; try smaller units";
            let range = if scaling == Scaling::Minmax { "range" } else { "std" };
            return Err(Error::invalid(format!("the {range} of column {column}"), scale[column], expected));
        }
        let scale = scale.into_iter().map(|scale| if scale > 0.0 { scale } else { 1.0 }).collect();
        Ok(Self { shift, scale, per_window })
    }

    /// Returns whether the values of a series reach a network as they are.
    pub fn is_identity(&self) -> bool {
        self.per_window.is_none()
            && self.shift.iter().all(|&shift| shift == 0.0)
            && self.scale.iter().all(|&scale| scale == 1.0)
    }

    /// Returns whether each window has a scaling of its own.
    pub fn is_per_window(&self) -> bool {
        self.per_window.is_some()
    }

    /// Returns the scaling of each window of `x: [batch, window_size, columns]`, the output of [`Scaler::transform`], by its own
    /// values; `None` if windows have no scaling of their own.
    ///
    /// # Errors
    /// Fails if `x` has another number of columns.
    pub fn of_windows(&self, x: &Tensor) -> Result<Option<WindowScaler>> {
        let Some(per_window) = self.per_window else { return Ok(None) };
        self.check(x)?;
        Ok(Some(match per_window {
            PerWindow::Window => {
                let (variance, mean) = x.f_var_mean_correction(1i64, 0, true)?;
                WindowScaler { shift: mean, scale: Some((variance + EPSILON).f_sqrt()?) }
            }
            PerWindow::Last => WindowScaler { shift: x.f_narrow(1, x.size()[1] - 1, 1)?, scale: None },
        }))
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

/// The scalings of many series, whose rows are one after the other.
#[derive(Debug)]
pub struct Units {
    /// The first row of each series.
    firsts: Vec<usize>,
    /// `[series, columns]`, in double precision.
    shift: Tensor,
    /// `[series, columns]`.
    scale: Tensor,
}

impl Units {
    /// Collects the first row and the scaling of each series.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn new<'a>(series: impl Iterator<Item = (usize, &'a Scaler)>) -> Result<Self> {
        let (mut firsts, mut shift, mut scale) = (Vec::new(), Vec::new(), Vec::new());
        for (first, scaler) in series {
            firsts.push(first);
            shift.extend_from_slice(&scaler.shift);
            scale.extend_from_slice(&scaler.scale);
        }
        let size = [firsts.len() as i64, -1];
        let table = |values: &[f64]| Tensor::f_from_slice(values)?.f_view(size);
        Ok(Self { shift: table(&shift)?, scale: table(&scale)?, firsts })
    }

    /// Returns shift and scale of the series of each row, `[rows, 1, columns]`, for values like `like`.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn of_rows(&self, rows: &[i64], like: &Tensor) -> Result<(Tensor, Tensor)> {
        let series = |row: &i64| self.firsts.partition_point(|first| *first as i64 <= *row) as i64 - 1;
        let series = Tensor::f_from_slice(&rows.iter().map(series).collect::<Vec<_>>())?;
        let of = |table: &Tensor| -> Result<Tensor> {
            let own = table.f_index_select(0, &series)?.f_unsqueeze(1)?;
            Ok(own.f_to_kind(like.kind())?.f_to_device(like.device())?)
        };
        Ok((of(&self.shift)?, of(&self.scale)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_of_every_scaling_restores_the_values_and_keeps_constants_finite() {
        let x = Tensor::from_slice(&[1f64, 7.0, 2.0, 7.0, 6.0, 7.0]).view([3, 2]);
        for scaling in Scaling::value_variants() {
            let scaler = Scaler::fit(*scaling, &x).unwrap();
            let scaled = scaler.transform(&x).unwrap();
            assert!(
                (scaler.inverse(&scaled).unwrap() - &x).abs().max().double_value(&[]) < 1e-12,
                "{scaling:?}"
            );
            let column = Vec::<f64>::try_from(scaled.select(1, 0)).unwrap();
            match scaling {
                Scaling::None => assert_eq!(column, [1.0, 2.0, 6.0]),
                Scaling::Standard | Scaling::Window | Scaling::Last => {
                    assert!(column.iter().sum::<f64>().abs() < 1e-12);
                }
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

    /// Expected values by hand: windows [1, 2, 6] and [5, 5, 5] of one column.
    #[test]
    fn of_windows_scales_each_window_by_its_own_values() {
        let x = Tensor::from_slice(&[1f64, 2.0, 6.0, 5.0, 5.0, 5.0]).view([2, 3, 1]);
        let training = Tensor::from_slice(&[-1f64, 1.0]).view([2, 1]);
        let of = |scaling| Scaler::fit(scaling, &training).unwrap().of_windows(&x).unwrap();
        assert!(of(Scaling::Standard).is_none());
        let last = of(Scaling::Last).unwrap();
        let scaled = Vec::<f64>::try_from(last.transform(&x).unwrap().view(-1)).unwrap();
        assert_eq!(scaled, [-5.0, -4.0, 0.0, 0.0, 0.0, 0.0]);
        let window = of(Scaling::Window).unwrap();
        let scaled = Vec::<f64>::try_from(window.transform(&x).unwrap().view(-1)).unwrap();
        let std = (14f64 / 3.0 + 1e-5).sqrt();
        for (got, expected) in scaled.iter().zip([-2.0 / std, -1.0 / std, 3.0 / std, 0.0, 0.0, 0.0]) {
            assert!((got - expected).abs() < 1e-12, "{got} is not {expected}");
        }
        for scaler in [last, window] {
            let back = scaler.inverse(&scaler.transform(&x).unwrap()).unwrap();
            assert!((back - &x).abs().max().double_value(&[]) < 1e-12);
        }
    }

    #[test]
    fn scaler_of_an_earlier_checkpoint_has_no_scaling_per_window() {
        let scaler: Scaler = serde_json::from_str(r#"{"shift": [1.0], "scale": [2.0]}"#).unwrap();
        assert!(!scaler.is_per_window());
        assert_eq!(serde_json::to_string(&scaler).unwrap(), r#"{"shift":[1.0],"scale":[2.0]}"#);
        let training = Tensor::from_slice(&[-1f64, 1.0]).view([2, 1]);
        for scaling in [Scaling::Window, Scaling::Last] {
            let scaler = Scaler::fit(scaling, &training).unwrap();
            let json = serde_json::to_string(&scaler).unwrap();
            assert_eq!(serde_json::from_str::<Scaler>(&json).unwrap(), scaler);
            assert!(scaler.is_per_window());
        }
    }
}
