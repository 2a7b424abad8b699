//! Forecasts of quantiles.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use text_recognizer::data::DataSpec;
use text_recognizer::lit_models::{LitConfig, QuantileLoss};

use super::Level;

/// The quantiles that a network forecasts, ascending and with the median. The last dimension of its forecasts has
/// `quantiles * columns` values: all columns of the first quantile, then those of the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f64>", into = "Vec<f64>")]
pub struct Quantiles(Vec<f64>);

impl TryFrom<Vec<f64>> for Quantiles {
    type Error = text_recognizer::Error;

    fn try_from(quantiles: Vec<f64>) -> text_recognizer::Result<Self> {
        QuantileLoss::new(&quantiles)?;
        Ok(Self(quantiles))
    }
}

impl From<Quantiles> for Vec<f64> {
    fn from(quantiles: Quantiles) -> Self {
        quantiles.0
    }
}

impl Quantiles {
    /// Returns the quantiles of a network with the loss of `config`; `None` for another loss.
    ///
    /// # Errors
    /// Fails if they are not allowed.
    pub fn of(config: &LitConfig) -> text_recognizer::Result<Option<Self>> {
        Ok(config.quantile_loss()?.map(|_| Self(config.quantiles.clone())))
    }

    /// Returns the quantiles, ascending.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// Returns the loss that they are the least of.
    ///
    /// # Errors
    /// Fails if they are not allowed.
    pub fn loss(&self) -> text_recognizer::Result<QuantileLoss> {
        QuantileLoss::new(&self.0)
    }

    /// Returns the number of quantiles.
    pub fn count(&self) -> i64 {
        self.0.len() as i64
    }

    /// Returns the shapes of a network that forecasts the quantiles of the targets of `data`: `[horizon, targets, quantiles]`.
    pub fn shapes(&self, mut data: DataSpec) -> DataSpec {
        data.output_dims.push(self.count());
        data
    }

    /// Returns one quantile of a forecast: `[..., quantiles * columns] -> [..., columns]`.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn select(&self, values: &Tensor, at: usize) -> text_recognizer::Result<Tensor> {
        let columns = values.size().last().copied().unwrap_or(0) / self.count();
        Ok(values.f_narrow(-1, at as i64 * columns, columns)?)
    }

    /// Returns the median of a forecast, which is the forecast of a network with quantiles: `[..., quantiles * columns] ->
    /// [..., columns]`.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn median(&self, values: &Tensor) -> text_recognizer::Result<Tensor> {
        let at = self.0.iter().position(|&quantile| quantile == QuantileLoss::MEDIAN);
        self.select(values, at.unwrap_or_default())
    }

    /// Returns the central pairs of quantiles as their levels and indices, the widest first: 0.1 and 0.9 have the level 80. A pair
    /// whose level is not a whole number of percent is left out.
    pub fn pairs(&self) -> Vec<(Level, [usize; 2])> {
        let whole = |low: f64, high: f64| {
            let percent = 100.0 * (high - low);
            let is_whole = (percent - percent.round()).abs() < 1e-6;
            is_whole.then(|| Level::try_from(percent.round() as u8).ok()).flatten()
        };
        let pair = |at: usize, low: f64| {
            let other = self.0.iter().position(|high| *high > low && (low + high - 1.0).abs() < 1e-9)?;
            Some((whole(low, self.0[other])?, [at, other]))
        };
        self.0.iter().enumerate().filter_map(|(at, &low)| pair(at, low)).collect()
    }
}

/// A forecast with the ends of the intervals that its quantiles are.
#[derive(Debug)]
pub struct Predicted {
    /// The forecast, `[rows, columns]`.
    pub made: Tensor,
    /// For the level of each central pair of quantiles the lower and the upper quantile, `[rows, columns]`; nothing for a model
    /// without quantiles.
    pairs: Vec<(Level, [Tensor; 2])>,
}

impl From<Tensor> for Predicted {
    fn from(made: Tensor) -> Self {
        Self { made, pairs: Vec::new() }
    }
}

impl Predicted {
    /// Splits a forecast of a model with `quantiles`, `[rows, quantiles * columns]`, or without, `[rows, columns]`.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn new(quantiles: Option<&Quantiles>, values: &Tensor) -> Result<Self> {
        let Some(quantiles) = quantiles else { return Ok(values.shallow_clone().into()) };
        let pair = |(level, [low, high]): (Level, [usize; 2])| {
            Ok((level, [quantiles.select(values, low)?, quantiles.select(values, high)?]))
        };
        let pairs = quantiles.pairs().into_iter().map(pair).collect::<Result<_>>()?;
        Ok(Self { made: quantiles.median(values)?, pairs })
    }

    /// Returns some of the rows.
    ///
    /// # Errors
    /// Fails if there are too few rows.
    pub fn narrow(&self, from: i64, rows: i64) -> Result<Self> {
        let narrow = |values: &Tensor| values.f_narrow(0, from, rows);
        let pair = |(level, [low, high]): &(Level, [Tensor; 2])| Ok((*level, [narrow(low)?, narrow(high)?]));
        Ok(Self { made: narrow(&self.made)?, pairs: self.pairs.iter().map(pair).collect::<Result<_>>()? })
    }

    /// Returns the number of the pair of quantiles whose level is nearest to `level`, of two the wider one; `None` without pairs.
    pub fn nearest(&self, level: Level) -> Option<usize> {
        let distance = |of: Level| (u8::from(of).abs_diff(level.into()), std::cmp::Reverse(of));
        (0..self.pairs.len()).min_by_key(|&at| distance(self.pairs[at].0))
    }

    /// Returns the lower and the upper quantile of a pair; without pairs both are the forecast.
    pub fn pair(&self, at: Option<usize>) -> [&Tensor; 2] {
        match at.and_then(|at| self.pairs.get(at)) {
            Some((_, [low, high])) => [low, high],
            None => [&self.made, &self.made],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantiles(values: &[f64]) -> Quantiles {
        values.to_vec().try_into().unwrap()
    }

    fn level(percent: u8) -> Level {
        percent.try_into().unwrap()
    }

    #[test]
    fn pairs_are_central_and_of_a_whole_level() {
        let all = quantiles(&[0.025, 0.1, 0.25, 0.3, 0.5, 0.75, 0.9, 0.975]);
        assert_eq!(all.pairs(), [(level(95), [0, 7]), (level(80), [1, 6]), (level(50), [2, 5])]);
        assert_eq!(quantiles(&[0.0025, 0.5, 0.9975]).pairs(), []);
        assert!(serde_json::from_str::<Quantiles>("[0.1, 0.9]").is_err());
    }

    #[test]
    fn predicted_has_the_median_and_the_nearest_pair() {
        let values = Tensor::arange(10, tch::kind::DOUBLE_CPU).view([1, 10]);
        let of = quantiles(&[0.05, 0.25, 0.5, 0.75, 0.95]);
        let predicted = Predicted::new(Some(&of), &values).unwrap();
        let row = |values: &Tensor| Vec::<f64>::try_from(values.view(-1)).unwrap();
        assert_eq!(row(&predicted.made), [4.0, 5.0]);
        // Level 70 is as near to 50 as to 90.
        for (percent, pair) in [(99, [0.0, 8.0]), (70, [0.0, 8.0]), (69, [2.0, 6.0]), (1, [2.0, 6.0])] {
            let found = predicted.pair(predicted.nearest(level(percent)));
            assert_eq!(found.map(|end| row(end)[0]), pair, "{percent}");
        }
        let only = Predicted::new(Some(&quantiles(&[0.5])), &values).unwrap();
        assert_eq!(only.nearest(level(80)), None);
        assert_eq!(only.pair(None).map(|end| row(end).len()), [10, 10]);
    }
}
