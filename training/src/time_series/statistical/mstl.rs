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
    /// Fails if a season is 1 row, or if the values are fewer than 5 or than two of the longest season.
    pub fn estimate(values: &[f64], seasons: &[usize]) -> Result<Self> {
        too_few("mstl", values, ets::LEAST)?;
        let [shortest, longest] =
            [seasons.iter().min(), seasons.iter().max()].map(|rows| rows.map_or(1, |rows| *rows));
        if shortest < 2 {
            return Err(Error::invalid("a season of mstl", shortest, "at least 2 rows; try auto_ets"));
        }
        if values.len() / 2 < longest {
            let least = longest.saturating_mul(2);
            let expected = format!("at least {least} for a season of {longest} rows; try auto_theta");
            return Err(Error::invalid("the number of values for mstl", values.len(), expected));
        }
        let decomposed = decompose(values, seasons)?;
        let without = |row: usize| values[row] - decomposed.iter().map(|season| season[row]).sum::<f64>();
        let rest: Vec<f64> = (0..values.len()).map(without).collect();
        let last = |(season, rows): (&Vec<f64>, &usize)| season[season.len() - rows..].to_vec();
        let seasons = decomposed.iter().zip(seasons).map(last).collect();
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
        let seasons: Vec<String> = self.seasons.iter().map(|season| season.len().to_string()).collect();
        format!("a season of {} rows, and {}", seasons.join(" and one of "), self.rest.form())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time_series::statistical::testing::{assert_close, first, golden, numbers, season};

    /// The decomposition is that of statsmodels, but for the smoothing of an odd season, which has the length of R: 7 for a season of
    /// 7 rows, where statsmodels has 9. The forecasts differ, because the parameters of the rest are estimated better.
    #[test]
    fn seasons_and_forecasts_are_those_of_statsforecast() {
        for (name, of) in golden().into_iter().filter(|(_, of)| of["mstl"].is_object()) {
            let (values, season) = (numbers(&of["values"]), season(&of));
            let model = Mstl::estimate(&values, &[season]).unwrap();
            let tolerance = if season.is_multiple_of(2) { 1e-8 } else { 1e-4 };
            assert_close(&model.seasons[0], &numbers(&of["mstl"]["components"]), tolerance, &name);
            assert_close(&first(&model, 15), &numbers(&of["mstl"]["forecasts"]), 0.02, &name);
        }
    }

    #[test]
    fn two_seasons_are_continued() {
        let value = |row: usize| 10.0 + [3.0, -2.0, -1.0][row % 3] + if row % 12 < 6 { 4.0 } else { -4.0 };
        let values: Vec<f64> = (0..120).map(value).collect();
        let expected: Vec<f64> = (120..140).map(value).collect();
        for seasons in [[3, 12], [12, 3]] {
            let model = Mstl::estimate(&values, &seasons).unwrap();
            assert_close(&first(&model, 20), &expected, 0.02, "two seasons");
        }
    }

    #[test]
    fn estimate_of_less_than_two_seasons_is_an_error_with_the_numbers() {
        let error =
            |season| Mstl::estimate(&[1.0, 2.0, 3.0, 4.0, 6.0], &[2, season]).unwrap_err().to_string();
        assert!(error(3).contains("is 5: expected at least 6 for a season of 3 rows"), "{}", error(3));
        assert!(error(usize::MAX).contains("is 5: "), "{}", error(usize::MAX));
        assert!(error(1).contains("is 1: expected at least 2 rows"), "{}", error(1));
    }
}
