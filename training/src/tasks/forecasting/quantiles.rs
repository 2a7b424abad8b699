//! The errors of the quantiles that a network forecasts.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Map, Value, json};
use tch::Tensor;

use crate::format::number;
use crate::time_series::{Coverage, Forecast, Quantiles, mean};

/// The errors of the quantiles on the splits that a model was not trained on.
pub struct QuantileErrors {
    quantiles: Quantiles,
    splits: Vec<OfSplit>,
}

/// The errors of the quantiles on a split, in the units of the series.
struct OfSplit {
    split: &'static str,
    /// The mean pinball loss of each quantile, over all steps ahead: the mean over the columns.
    pinball: Vec<f64>,
    /// The coverage of each central pair of quantiles as the network forecasts them, before a conformal correction.
    coverage: Vec<Coverage>,
}

impl OfSplit {
    fn mean(&self) -> f64 {
        mean(self.pinball.iter().copied())
    }

    /// Returns the continuous ranked probability score: twice the mean pinball loss, which is its integral over the quantiles as a
    /// sum over those that are forecast (Gneiting and Ranjan, "Comparing Density Forecasts Using Threshold- and Quantile-Weighted
    /// Scoring Rules", 2011).
    fn crps(&self) -> f64 {
        2.0 * self.mean()
    }
}

impl QuantileErrors {
    /// Measures the errors of the forecasts of the splits with these names; `None` for a model without quantiles.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn new<'a>(forecasts: impl Iterator<Item = (&'static str, &'a Forecast)>) -> Result<Option<Self>> {
        let mut errors: Option<Self> = None;
        for (split, forecast) in forecasts {
            let Some((quantiles, steps)) = &forecast.quantiles else { continue };
            let of_split = OfSplit {
                split,
                pinball: pinball(quantiles, steps, &forecast.actual)?,
                coverage: coverage(quantiles, steps, &forecast.actual)?,
            };
            let new = || Self { quantiles: quantiles.clone(), splits: Vec::new() };
            errors.get_or_insert_with(new).splits.push(of_split);
        }
        Ok(errors)
    }

    /// Returns the errors as text.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for of in &self.splits {
            let split = of.split;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "Quantiles on the {split} split: pinball loss, and coverage of pairs");
            for (quantile, loss) in self.quantiles.values().iter().zip(&of.pinball) {
                let _ = writeln!(text, "  {quantile:<12} {:>11}", number(*loss));
            }
            let _ = writeln!(text, "  {:<12} {:>11}", "mean", number(of.mean()));
            let _ = writeln!(text, "  {:<12} {:>11}", "CRPS", number(of.crps()));
            for (coverage, (_, ends)) in of.coverage.iter().zip(self.quantiles.pairs()) {
                let [low, high] = ends.map(|at| self.quantiles.values()[at]);
                let (level, percent, all) = (coverage.level, coverage.percent(), coverage.all);
                let _ = writeln!(
                    text,
                    "  {:<12} {percent:>9.1} % of {all} values ({level} % expected)",
                    format!("{low} to {high}")
                );
            }
        }
        text
    }

    /// Returns the errors as JSON.
    pub fn json(&self) -> Value {
        let of_split = |of: &OfSplit| {
            let pinball = self.quantiles.values().iter().map(f64::to_string).zip(&of.pinball);
            let coverage = of.coverage.iter().zip(self.quantiles.pairs()).map(|(coverage, (level, ends))| {
                json!({
                    "quantiles": ends.map(|at| self.quantiles.values()[at]),
                    "level": level,
                    "percent": coverage.percent(),
                    "within": coverage.within,
                    "values": coverage.all,
                })
            });
            let values = json!({
                "pinball": pinball.map(|(name, loss)| (name, json!(loss))).collect::<Map<_, _>>(),
                "mean_pinball": of.mean(),
                "crps": of.crps(),
                "coverage": coverage.collect::<Value>(),
            });
            (of.split.to_owned(), values)
        };
        self.splits.iter().map(of_split).collect::<Map<_, _>>().into()
    }
}

/// Returns the mean pinball loss of each quantile of forecasts, one tensor `[rows, quantiles * columns]` per step ahead. A column
/// without forecasts and actual values adds nothing.
fn pinball(quantiles: &Quantiles, steps: &[Tensor], actual: &Tensor) -> Result<Vec<f64>> {
    let loss = quantiles.loss()?;
    let column = |at: i64| {
        let actual = actual.f_select(1, at)?.f_unsqueeze(0)?.f_expand([steps.len() as i64, -1], false)?;
        let of_quantile = |quantile| {
            let each = steps.iter().map(|step| Ok(quantiles.select(step, quantile)?.f_select(1, at)?));
            Ok(Tensor::f_stack(&each.collect::<Result<Vec<_>>>()?, 0)?)
        };
        let made = (0..quantiles.values().len()).map(of_quantile).collect::<Result<Vec<_>>>()?;
        Ok(loss.each(&Tensor::f_stack(&made, 0)?, &actual)?)
    };
    let columns = (0..actual.size()[1]).map(column).collect::<Result<Vec<_>>>()?;
    let means = Tensor::f_stack(&columns, 0)?.f_nanmean(0, false, tch::Kind::Double)?;
    Ok(Vec::try_from(means)?)
}

/// Counts the actual values within each central pair of quantiles, the widest first.
fn coverage(quantiles: &Quantiles, steps: &[Tensor], actual: &Tensor) -> Result<Vec<Coverage>> {
    let of_pair = |(level, ends): (_, [usize; 2])| {
        let mut coverage = Coverage { level, within: 0, all: 0 };
        for step in steps {
            let [low, high] = ends.map(|at| quantiles.select(step, at));
            coverage.add(actual, &[low?, high?])?;
        }
        Ok(coverage)
    };
    quantiles.pairs().into_iter().map(of_pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One step ahead, two columns; values by hand from the formula.
    #[test]
    fn errors_are_means_over_the_values_that_are_present() {
        let quantiles: Quantiles = vec![0.1, 0.5, 0.9].try_into().unwrap();
        let actual = Tensor::from_slice(&[1.0, 10.0, 5.0, f64::NAN]).view([2, 2]);
        // The columns of each quantile after each other.
        let step = Tensor::from_slice(&[0.0, 10.0, 2.0, 12.0, 3.0, 14.0, 6.0, 0.0, 7.0, 0.0, 8.0, 0.0]);
        let steps = [step.view([2, 6])];
        let found = pinball(&quantiles, &steps, &actual).unwrap();
        let expected = [(0.1 + 0.9) / 2.0 / 2.0, (1.5 / 2.0 + 1.0) / 2.0, (0.5 / 2.0 + 0.4) / 2.0];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} {expected:?}");
        let coverage = coverage(&quantiles, &steps, &actual).unwrap();
        assert_eq!((coverage[0].within, coverage[0].all), (2, 3));
        let of = OfSplit { split: "test", pinball: found, coverage };
        let errors = QuantileErrors { quantiles, splits: vec![of] };
        let json = errors.json();
        assert_eq!(json["test"]["pinball"]["0.5"], 0.875);
        assert_eq!(
            json["test"]["crps"].as_f64().unwrap(),
            2.0 * json["test"]["mean_pinball"].as_f64().unwrap()
        );
        assert!(
            errors.table().contains("0.1 to 0.9        66.7 % of 3 values (80 % expected)"),
            "{}",
            errors.table()
        );
    }
}
