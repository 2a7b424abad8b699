//! Fills missing values of a series.

use std::ops::Range;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use text_recognizer::{Error, Result};

/// The values that a network gets in the place of missing ones. Losses and metrics never use them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Fill {
    /// Nothing: windows with a missing value are left out.
    #[default]
    None,
    /// The last value before.
    Forward,
    /// The straight line between the values before and after; the last value before at the end of a split. No window ends in such a
    /// gap, because its target would be among its inputs.
    Interpolate,
    /// The value one season before, itself filled if it is missing.
    Seasonal,
}

/// Values with filled gaps.
#[derive(Debug)]
pub struct Filled {
    /// The values, `[rows, columns]`.
    pub values: Tensor,
    /// The number of filled values.
    pub count: usize,
    /// Whether a row depends on a later one, so that no window may end there: its target would be among its inputs.
    pub looks_ahead: Vec<bool>,
}

/// Fills the missing values (NaN) of `values: [rows, columns]`. `splits` are the first rows of the splits after the first: a filled
/// value depends on no value of a later split. Missing values before the first value of a column stay missing.
///
/// # Errors
/// Fails if `fill` needs a season and `season` is `None`.
pub fn fill(values: &Tensor, fill: Fill, season: Option<usize>, splits: &[usize]) -> Result<Filled> {
    let size = values.size();
    let [rows, columns] = size[..] else {
        return Err(Error::shape("fill", "[rows, columns]", &size));
    };
    let season = match (fill, season) {
        (Fill::None, _) => {
            return Ok(Filled { values: values.shallow_clone(), count: 0, looks_ahead: Vec::new() });
        }
        (Fill::Seasonal, None) => {
            let expected = "a number of rows, which the timestamps do not determine; try --season ROWS or another --fill";
            return Err(Error::invalid("season", "unknown", expected));
        }
        (_, season) => season.unwrap_or(1),
    };
    let bounds: Vec<usize> =
        std::iter::once(0).chain(splits.iter().copied()).chain([rows as usize]).collect();
    let mut filled = Vec::with_capacity(columns as usize);
    let mut count = 0;
    let mut looks_ahead = vec![false; rows as usize];
    for column in 0..columns {
        let mut column = Vec::<f64>::try_from(values.f_select(1, column)?)?;
        let before = missing(&column);
        match fill {
            Fill::None | Fill::Forward => forward(&mut column),
            Fill::Seasonal => seasonal(&mut column, season),
            Fill::Interpolate => bounds
                .windows(2)
                .for_each(|split| interpolate(&mut column, split[0]..split[1], &mut looks_ahead)),
        }
        count += before - missing(&column);
        filled.push(Tensor::f_from_slice(&column)?);
    }
    let values = Tensor::f_stack(&filled, 1)?.f_to_kind(Kind::Double)?;
    Ok(Filled { values, count, looks_ahead })
}

fn missing(values: &[f64]) -> usize {
    values.iter().filter(|value| value.is_nan()).count()
}

/// Replaces each missing value by the last value before it.
pub(super) fn forward(values: &mut [f64]) {
    let mut last = f64::NAN;
    for value in values {
        if value.is_nan() {
            *value = last;
        }
        last = *value;
    }
}

/// Replaces each missing value by the value `season` rows before it, or by the last value before it in the first season.
pub(super) fn seasonal(values: &mut [f64], season: usize) {
    for row in 0..values.len() {
        if values[row].is_nan() {
            let ago = row.checked_sub(season).map_or(f64::NAN, |ago| values[ago]);
            values[row] = if ago.is_nan() && row > 0 { values[row - 1] } else { ago };
        }
    }
}

/// Replaces the missing values of `rows` by the straight line between the values around them. Those at the end of `rows` get the
/// last value before them, those at the start the last value before `rows`. Marks the rows that depend on a later one.
fn interpolate(values: &mut [f64], rows: Range<usize>, looks_ahead: &mut [bool]) {
    let mut row = rows.start;
    while row < rows.end {
        if !values[row].is_nan() {
            row += 1;
            continue;
        }
        let last = row.checked_sub(1).map_or(f64::NAN, |last| values[last]);
        let after = (row..rows.end).find(|&row| !values[row].is_nan());
        let (end, slope) = match after {
            Some(after) if row > rows.start => {
                looks_ahead[row..after].fill(true);
                (after, (values[after] - last) / (after + 1 - row) as f64)
            }
            Some(after) => (after, 0.0),
            None => (rows.end, 0.0),
        };
        for (steps, value) in values[row..end].iter_mut().enumerate() {
            *value = last + slope * (steps + 1) as f64;
        }
        row = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    fn filled(values: &[f64], how: Fill, splits: &[usize]) -> Vec<String> {
        let values = Tensor::from_slice(values).view([-1, 1]);
        let Filled { values: filled, count, looks_ahead } = fill(&values, how, Some(3), splits).unwrap();
        assert!(how == Fill::Interpolate || !looks_ahead.contains(&true));
        let column = Vec::<f64>::try_from(filled.view(-1)).unwrap();
        let left = values.isnan().sum(Kind::Int64).int64_value(&[]) as usize;
        assert_eq!(left - count, missing(&column));
        column.iter().map(f64::to_string).collect()
    }

    #[test]
    fn fill_of_each_kind_has_the_expected_values() {
        let gaps = [NAN, 1.0, 2.0, NAN, NAN, 8.0, NAN, NAN];
        let cases = [
            (Fill::None, "NaN 1 2 NaN NaN 8 NaN NaN"),
            (Fill::Forward, "NaN 1 2 2 2 8 8 8"),
            (Fill::Interpolate, "NaN 1 2 4 6 8 8 8"),
            (Fill::Seasonal, "NaN 1 2 2 1 8 2 1"),
        ];
        for (how, expected) in cases {
            assert_eq!(filled(&gaps, how, &[]).join(" "), expected, "{how:?}");
        }
    }

    #[test]
    fn fill_before_a_split_depends_on_no_value_after_it() {
        let gaps = [1.0, 2.0, NAN, NAN, 8.0, NAN, 10.0, 11.0, 12.0];
        assert_eq!(filled(&gaps, Fill::Interpolate, &[3, 6]).join(" "), "1 2 2 2 8 8 10 11 12");
        for how in [Fill::Forward, Fill::Interpolate, Fill::Seasonal] {
            for split in 1..gaps.len() {
                let mut other = gaps;
                other[split..].iter_mut().for_each(|value| *value *= 7.0);
                let before = |values: &[f64]| filled(values, how, &[split])[..split].to_vec();
                assert_eq!(before(&gaps), before(&other), "{how:?} {split}");
            }
        }
    }

    #[test]
    fn filled_row_depends_on_no_later_row_unless_it_looks_ahead() {
        let gaps = [1.0, 2.0, NAN, NAN, 8.0, NAN, 10.0, NAN];
        let of = |values: &[f64]| {
            let filled =
                fill(&Tensor::from_slice(values).view([-1, 1]), Fill::Interpolate, None, &[]).unwrap();
            (Vec::<f64>::try_from(filled.values.view(-1)).unwrap(), filled.looks_ahead)
        };
        let (before, looks_ahead) = of(&gaps);
        assert_eq!(looks_ahead, [false, false, true, true, false, true, false, false]);
        for row in (0..gaps.len()).filter(|&row| !looks_ahead[row]) {
            let mut other = gaps;
            other[row + 1..].iter_mut().for_each(|value| *value *= 7.0);
            assert_eq!(of(&other).0[row], before[row], "{row}");
        }
    }

    #[test]
    fn seasonal_fill_without_a_season_is_an_error_with_the_flag() {
        let values = Tensor::from_slice(&[1.0, NAN]).view([2, 1]);
        let error = fill(&values, Fill::Seasonal, None, &[]).unwrap_err().to_string();
        assert!(error.contains("--season ROWS"), "{error}");
    }
}
