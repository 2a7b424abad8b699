//! Statistical models: forecasts from a few parameters that are estimated on past values, without training.

use std::ops::Range;

use text_recognizer::{Error, Result};

use super::fill::{forward, seasonal};
use crate::format::count;

mod ets;
mod intermittent;
mod least_squares;
mod mstl;
mod seasonal;
#[cfg(test)]
mod testing;
mod theta;

pub use ets::Ets;
pub use intermittent::{Croston, Tsb};
pub use mstl::Mstl;
pub use theta::Theta;

/// An estimated model, with its state after the last value that it has seen.
pub trait Estimated {
    /// Moves the state one row on, with the value of this row. The parameters stay as they are.
    fn update(&mut self, value: f64);

    /// Returns the forecasts of the next rows, without end.
    fn forecasts(&self) -> Box<dyn Iterator<Item = f64> + '_>;

    /// Returns the form that was chosen, for a note.
    fn form(&self) -> String;
}

/// A series that a statistical model walks over: the model is estimated on its first rows, and its state then moves on row by row.
pub struct Walk<M = Box<dyn Estimated>> {
    model: M,
    name: &'static str,
    /// The number of rows of the estimation.
    known: usize,
    /// The values, with filled gaps.
    values: Vec<f64>,
    /// The number of filled values.
    filled: usize,
}

impl Walk<()> {
    /// Prepares the estimation of the model `name` on the first `known` rows of `series`. Fills missing values with the value
    /// `season` rows before, or the last value before.
    pub fn new(name: &'static str, series: &[f64], season: Option<usize>, known: usize) -> Self {
        let mut values = series.to_vec();
        match season {
            Some(season) => seasonal(&mut values, season),
            None => forward(&mut values),
        }
        let filled = series.iter().zip(&values).filter(|(before, after)| before.is_nan() && !after.is_nan());
        let filled = filled.count();
        Self { model: (), name, known: known.min(values.len()), values, filled }
    }

    /// Estimates the model on the known rows from the first value on.
    ///
    /// # Errors
    /// Fails if the estimation does, or if a value is infinite.
    pub fn with<M: Estimated + 'static>(self, estimate: impl FnOnce(&[f64]) -> Result<M>) -> Result<Walk> {
        let past = &self.values[..self.known];
        let past = &past[past.iter().take_while(|value| value.is_nan()).count()..];
        if let Some(value) = past.iter().find(|value| !value.is_finite()) {
            return Err(Error::invalid(format!("a value for {}", self.name), value, "a finite number"));
        }
        let model: Box<dyn Estimated> = Box::new(estimate(past)?);
        let Self { name, known, values, filled, .. } = self;
        Ok(Walk { model, name, known, values, filled })
    }
}

impl Walk {
    /// Forecasts `rows`, and returns for each of `gaps` the forecasts of the rows from the values before row `row - gap`; NaN if
    /// that is before the first of the rows. The rows start where the estimation ended, or later.
    pub fn forecast(mut self, rows: Range<usize>, gaps: &[usize]) -> Vec<Vec<f64>> {
        let mut steps = vec![vec![f64::NAN; rows.len()]; gaps.len()];
        (self.known..rows.start).for_each(|row| self.update(row));
        for origin in 0..rows.len() {
            let mut forecasts = self.model.forecasts();
            let mut made = 0;
            for (step, gap) in steps.iter_mut().zip(gaps) {
                let Some(place) = step.get_mut(origin + gap) else { break };
                *place = forecasts.nth(gap - made).unwrap_or(f64::NAN);
                made = gap + 1;
            }
            drop(forecasts);
            self.update(rows.start + origin);
        }
        steps
    }

    /// Moves the state of the model over a row. An infinite value would stay in the state for ever; it takes no part.
    fn update(&mut self, row: usize) {
        let value = Some(self.values[row]).filter(|value| value.is_finite());
        let value = value.or_else(|| self.model.forecasts().next());
        self.model.update(value.unwrap_or(f64::NAN));
    }

    /// Forecasts the next `steps` steps, of `stride` rows, after the last row of the estimation.
    pub fn future(self, steps: usize, stride: usize) -> Vec<f64> {
        self.model.forecasts().skip(stride - 1).step_by(stride).take(steps).collect()
    }

    /// Returns the form of the model, and the number of missing values that it fills.
    pub fn note(&self) -> String {
        let filled = match self.filled {
            0 => String::new(),
            filled => format!("; {} filled", count(filled as u64, "missing value")),
        };
        format!("{} on {}: {}{filled}", self.name, count(self.known as u64, "row"), self.model.form())
    }
}

/// Fails if `values` are fewer than `least`.
fn too_few(name: &str, values: &[f64], least: usize) -> Result<()> {
    if values.len() < least {
        let expected = format!("at least {least} before the first forecast");
        return Err(Error::invalid(format!("the number of values for {name}"), values.len(), expected));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
