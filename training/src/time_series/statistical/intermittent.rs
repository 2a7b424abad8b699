//! Demand with many zeros: `croston` and `tsb`.

use text_recognizer::{Error, Result};

use super::{Estimated, too_few};

/// The smoothing parameter of `croston`, of its author's examples.
const ALPHA: f64 = 0.1;
/// The smoothing parameters that `tsb` chooses from: those of the simulations of its authors.
const ALPHAS: [f64; 6] = [0.05, 0.1, 0.15, 0.2, 0.25, 0.3];

/// The method of Croston, "Forecasting and stock control for intermittent demands", 1972: the mean demand of the rows with demand,
/// divided by the mean number of rows from one demand to the next, both smoothed.
#[derive(Debug, Clone, Default)]
pub struct Croston {
    /// The smoothed demand and the smoothed interval; `None` before the first demand.
    levels: Option<[f64; 2]>,
    /// The rows since the last demand.
    rows: f64,
}

impl Croston {
    /// Smooths `values`.
    ///
    /// # Errors
    /// Fails if there is no value, or if one is smaller than 0.
    pub fn estimate(values: &[f64]) -> Result<Self> {
        check("croston", values)?;
        let mut model = Self::default();
        values.iter().for_each(|value| model.update(*value));
        Ok(model)
    }
}

impl Estimated for Croston {
    fn update(&mut self, value: f64) {
        self.rows += 1.0;
        if value > 0.0 {
            let found = [value, self.rows];
            self.levels = Some(match self.levels {
                None => found,
                Some(levels) => [0, 1].map(|index| levels[index] + ALPHA * (found[index] - levels[index])),
            });
            self.rows = 0.0;
        }
    }

    fn forecasts(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        let forecast = self.levels.map_or(0.0, |[demand, interval]| demand / interval);
        Box::new(std::iter::repeat(forecast))
    }

    fn form(&self) -> String {
        format!("Croston's method, alpha {ALPHA}")
    }
}

/// The method of Teunter, Syntetos and Babai, "Intermittent demand: linking forecasting to inventory obsolescence", 2011: the
/// smoothed demand of the rows with demand, times the smoothed share of the rows with demand. The share falls with each row without
/// demand.
#[derive(Debug, Clone)]
pub struct Tsb {
    /// The smoothing parameters of the demand and of the share.
    alphas: [f64; 2],
    /// The smoothed demand; `None` before the first demand.
    demand: Option<f64>,
    /// The smoothed share; `None` before the first row.
    share: Option<f64>,
}

impl Tsb {
    const fn new(alphas: [f64; 2]) -> Self {
        Self { alphas, demand: None, share: None }
    }

    /// Chooses the smoothing parameters with the smallest squared errors one step ahead, and smooths `values`.
    ///
    /// # Errors
    /// Fails if there is no value, or if one is smaller than 0.
    pub fn estimate(values: &[f64]) -> Result<Self> {
        check("tsb", values)?;
        let error = |alphas: [f64; 2]| {
            let mut model = Self::new(alphas);
            let errors = values.iter().map(|value| {
                let error = value - model.forecast();
                model.update(*value);
                error * error
            });
            errors.sum::<f64>()
        };
        let pairs = ALPHAS.into_iter().flat_map(|demand| ALPHAS.map(|share| [demand, share]));
        let errors = pairs.map(|alphas| (error(alphas), alphas));
        let best = errors.reduce(|best, next| if next.0 < best.0 { next } else { best });
        let mut model = Self::new(best.map_or([ALPHA; 2], |(_, alphas)| alphas));
        values.iter().for_each(|value| model.update(*value));
        Ok(model)
    }

    fn forecast(&self) -> f64 {
        self.demand.unwrap_or(0.0) * self.share.unwrap_or(0.0)
    }
}

impl Estimated for Tsb {
    fn update(&mut self, value: f64) {
        let [of_demand, of_share] = self.alphas;
        let smoothed = |level: Option<f64>, found: f64, alpha: f64| {
            Some(level.map_or(found, |level| level + alpha * (found - level)))
        };
        self.share = smoothed(self.share, f64::from(value > 0.0), of_share);
        if value > 0.0 {
            self.demand = smoothed(self.demand, value, of_demand);
        }
    }

    fn forecasts(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        Box::new(std::iter::repeat(self.forecast()))
    }

    fn form(&self) -> String {
        let [demand, share] = self.alphas;
        format!(
            "the method of Teunter, Syntetos and Babai, alpha {demand} for the demand and {share} for its share"
        )
    }
}

/// Checks that there is a value, and that none is smaller than 0.
fn check(name: &str, values: &[f64]) -> Result<()> {
    too_few(name, values, 1)?;
    match values.iter().find(|value| **value < 0.0) {
        Some(value) => {
            let expected = "at least 0, because it is a demand; try auto_ets or auto_theta";
            Err(Error::invalid(format!("a value for {name}"), value, expected))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time_series::statistical::testing::{assert_close, first, golden, numbers};

    /// The methods have no search, so that the numbers are the same.
    #[test]
    fn forecasts_are_those_of_statsforecast() {
        let (_, of) = golden().into_iter().find(|(name, _)| name == "demand").unwrap();
        let values = numbers(&of["values"]);
        let croston = Croston::estimate(&values).unwrap();
        assert_close(&first(&croston, 1), &[of["croston"].as_f64().unwrap()], 1e-10, "croston");
        let mut tsb = Tsb::new([0.2, 0.1]);
        values.iter().for_each(|value| tsb.update(*value));
        assert_close(&first(&tsb, 1), &[of["tsb"].as_f64().unwrap()], 1e-10, "tsb");
    }

    #[test]
    fn forecast_without_any_demand_is_zero_and_follows_the_first_one() {
        let mut croston = Croston::estimate(&[0.0; 4]).unwrap();
        let mut tsb = Tsb::estimate(&[0.0; 4]).unwrap();
        assert_eq!([first(&croston, 2), first(&tsb, 2)], [[0.0; 2], [0.0; 2]]);
        croston.update(10.0);
        tsb.update(10.0);
        assert_eq!(first(&croston, 1), [2.0]);
        assert!(tsb.forecast() > 0.0);
    }

    #[test]
    fn negative_demand_is_an_error_with_the_value() {
        for error in [Croston::estimate(&[0.0, -2.5]).map(|_| ()), Tsb::estimate(&[0.0, -2.5]).map(|_| ())] {
            let error = error.unwrap_err().to_string();
            assert!(error.contains("is -2.5: expected at least 0"), "{error}");
        }
    }
}
