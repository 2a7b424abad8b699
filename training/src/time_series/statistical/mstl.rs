//! Seasons by a decomposition with local regression, and exponential smoothing of the rest: `mstl`.

use stlrs::{Mstl as Decomposition, Stl};
use text_recognizer::{Error, Result};

use super::ets::{self, Ets};
use super::{Estimated, too_few};

/// The degree of the local regression of a season, as in R's `forecast::mstl`.
const DEGREE: i32 = 0;
/// The repetitions of the decomposition, as in statsmodels.
const INNER_LOOPS: usize = 5;

/// A series without its seasons, with the last period of each season.
///
/// Bandara, Hyndman and Bergmeir, "MSTL: A Seasonal-Trend Decomposition Algorithm for Time Series with Multiple Seasonal Patterns",
/// 2021. The seasons of the last period are repeated in all forecasts.
#[derive(Debug, Clone)]
pub struct Mstl {
    rest: Ets,
    /// The components of the last period of each season; the first component is that of row `rows`.
    seasons: Vec<Vec<f64>>,
    /// The number of rows after the estimation.
    after: usize,
}

impl Mstl {
    /// Decomposes `values`, and estimates the model of the rest.
    ///
    /// # Errors
    /// Fails if the values are less than two of the longest season.
    pub fn estimate(values: &[f64], seasons: &[usize]) -> Result<Self> {
        too_few("mstl", values, ets::LEAST)?;
        let longest = seasons.iter().copied().max().unwrap_or(0);
        if values.len() < longest.saturating_mul(2) {
            let expected = format!("at least {} for a season of {longest} rows; try auto_theta", 2 * longest);
            return Err(Error::invalid("the number of values for mstl", values.len(), expected));
        }
        let seasons: Vec<usize> = seasons.iter().copied().filter(|&season| season > 1).collect();
        let decomposed = if seasons.is_empty() { Vec::new() } else { decompose(values, &seasons)? };
        let without = |row: usize| values[row] - decomposed.iter().map(|season| season[row]).sum::<f64>();
        let rest: Vec<f64> = (0..values.len()).map(without).collect();
        let last = |(season, rows): (&Vec<f64>, &usize)| season[season.len() - rows..].to_vec();
        let seasons = decomposed.iter().zip(&seasons).map(last).collect();
        Ok(Self { rest: Ets::estimate(&rest, Some(1))?, seasons, after: 0 })
    }

    /// Returns the sum of the seasonal components of a row after the estimation.
    fn component(&self, after: usize) -> f64 {
        self.seasons.iter().map(|season| season[after % season.len()]).sum()
    }
}

/// Returns the component of each season in each row.
fn decompose(values: &[f64], seasons: &[usize]) -> Result<Vec<Vec<f64>>> {
    let mut each = Stl::params();
    each.seasonal_degree(DEGREE).inner_loops(INNER_LOOPS);
    each.seasonal_jump(1).trend_jump(1).low_pass_jump(1);
    let result = Decomposition::params().stl_params(each).fit(values, seasons);
    let result = result.map_err(|error| {
        Error::invalid(
            "a season",
            format!("{seasons:?} ({error})"),
            "rows that the series can be decomposed by",
        )
    })?;
    Ok(result.into_parts().0)
}

impl Estimated for Mstl {
    fn update(&mut self, value: f64) {
        self.rest.update(value - self.component(self.after));
        self.after += 1;
    }

    fn forecasts(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        let rows = (self.after..).zip(self.rest.forecasts());
        Box::new(rows.map(|(after, forecast)| forecast + self.component(after)))
    }

    fn form(&self) -> String {
        if self.seasons.is_empty() {
            return self.rest.form();
        }
        let seasons: Vec<String> = self.seasons.iter().map(|season| season.len().to_string()).collect();
        format!("a season of {} rows, and {}", seasons.join(" and one of "), self.rest.form())
    }
}
