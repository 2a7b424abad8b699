//! Checks that single precision holds the values that a network gets.

use std::ops::Range;

use tch::{Device, Kind, Tensor};
use text_recognizer::{Error, Result};

use crate::format::listed;
use crate::time_series::{Covariates, Scaler, Series};

/// Adds a note with the columns of `series` and of `covariates` whose scaled values lose digits that matter in single precision: the
/// rounding error is above 0.1 % of the mean change from row to row.
///
/// # Errors
/// Fails if a scaled value is too large for single precision.
pub(in crate::time_series) fn check_precision(
    series: &mut Series,
    scaler: &Scaler,
    covariates: Option<&Covariates>,
) -> Result<()> {
    let mut rounded = rounded(&series.names, &series.values, scaler, series.blocks())?;
    if let (Some(covariates), Some(values)) = (covariates, series.covariates()) {
        for (names, values, scaler) in covariates.parts(values) {
            rounded.extend(self::rounded(names, values, scaler, series.blocks())?);
        }
    }
    if !rounded.is_empty() {
        let advice = if scaler.is_identity() { " (try --scaling standard)" } else { "" };
        series.notes.push(format!(
            "networks get rounded values of {}: single precision has 7 digits{advice}",
            listed(&rounded)
        ));
    }
    Ok(())
}

/// Returns the names of the columns of `values: [rows, columns]` that lose digits. Fails if a scaled value is too large.
fn rounded(
    names: &[String],
    values: &Tensor,
    scaler: &Scaler,
    blocks: impl Iterator<Item = Range<usize>>,
) -> Result<Vec<String>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let zeros = || Tensor::f_zeros([names.len() as i64], (Kind::Double, Device::Cpu));
    // The largest absolute value of each column, and the sum and the number of the changes from row to row.
    let (mut largest, mut sums, mut counts) = (zeros()?, zeros()?, zeros()?);
    for Range { start, end } in blocks {
        let start = start.saturating_sub(1);
        let scaled = scaler.transform(&values.f_narrow(0, start as i64, (end - start) as i64)?)?;
        let present = scaled.f_abs()?.f_nan_to_num(0.0, None, None)?;
        largest = largest.f_maximum(&present.f_amax(0, false)?)?;
        let changes = scaled.f_diff::<Tensor>(1, 0, None, None)?.f_abs()?;
        counts = counts.f_add(&changes.f_isfinite()?.f_sum_dim_intlist(0, false, Kind::Double)?)?;
        sums = sums.f_add(&changes.f_nansum(0, false, Kind::Double)?)?;
    }
    let (largest, changes): (Vec<f64>, Vec<f64>) = (largest.try_into()?, sums.f_div(&counts)?.try_into()?);
    let mut rounded = Vec::new();
    for ((name, largest), change) in names.iter().zip(largest).zip(changes) {
        if largest > f64::from(f32::MAX) {
            let expected = format!(
                "at most {:e}, the largest number of single precision; try --scaling standard, or smaller units",
                f32::MAX
            );
            return Err(Error::invalid(format!("the largest value of column {name}"), largest, expected));
        }
        if largest * f64::from(f32::EPSILON) > 2e-3 * change {
            rounded.push(name.clone());
        }
    }
    Ok(rounded)
}
