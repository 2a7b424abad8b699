//! Combines the forecasts of several models.

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Fold, Level};

/// The way to combine forecasts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Combine {
    /// The mean.
    #[default]
    Mean,
    /// The median.
    Median,
    /// The mean, each model with the weight 1 / its median absolute error before the cutoff.
    Error,
}

/// The models of an ensemble (Bates and Granger, "The Combination of Forecasts", 1969).
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnsembleConfig {
    /// Combine the forecasts of --model with those of these models, which have the same flags of data and training, and the defaults of
    /// their own.
    #[arg(long = "ensemble", value_name = "MODEL", num_args = 1.., value_delimiter = ',')]
    pub ensemble: Vec<String>,
    /// Combine the forecasts of --ensemble like this.
    #[arg(long = "combine", value_enum, default_value_t = Combine::Mean, requires = "ensemble")]
    pub combine: Combine,
}

impl Combine {
    /// Combines the folds of several models at one cutoff. An interval of the ensemble has the mean size of theirs, which is at least as
    /// large as needed for errors that partly cancel each other.
    ///
    /// # Errors
    /// Fails if a weight needs errors of earlier forecasts that a model does not have.
    pub fn folds(self, members: &[&Fold]) -> Result<Fold> {
        let first =
            members.first().context("cannot combine forecasts: found no model, expected at least one")?;
        let all = |of: &dyn Fn(&Fold) -> Result<Tensor>| -> Result<Tensor> {
            let each = members.iter().map(|member| of(member)).collect::<Result<Vec<_>>>()?;
            Ok(Tensor::f_stack(&each, 0)?) // [models, horizon, columns]
        };
        let made = all(&|fold| Ok(fold.made.shallow_clone()))?;
        let kind = tch::Kind::Double;
        let combined = match self {
            Self::Mean => made.f_mean_dim(0, false, kind)?,
            Self::Median => median(&made)?,
            Self::Error => {
                let spread = |fold: &Fold| {
                    let spread = fold.spread.as_ref().map(Tensor::shallow_clone);
                    spread.context(
                        "cannot weigh by error: found no errors of earlier forecasts; try --combine mean",
                    )
                };
                // A model without errors would have an infinite weight.
                let weights = all(&spread)?.f_clamp_min(f64::MIN_POSITIVE)?.f_reciprocal()?;
                let total = weights.f_sum_dim_intlist(0, false, kind)?;
                made.f_mul(&weights)?.f_sum_dim_intlist(0, false, kind)?.f_div(&total)?
            }
        };
        let levels: Vec<Level> = first.ends.iter().map(|(level, _)| *level).collect();
        let of_level = |level: &Level| -> Result<Option<(Level, [Tensor; 2])>> {
            let ends = members.iter().map(|fold| fold.ends.iter().find(|(of, _)| of == level));
            let Some(ends) = ends.collect::<Option<Vec<_>>>() else { return Ok(None) };
            let halves = ends.iter().map(|(_, [low, high])| Ok(high.f_sub(low)?.f_mul_scalar(0.5)?));
            let half =
                Tensor::f_stack(&halves.collect::<Result<Vec<_>>>()?, 0)?.f_mean_dim(0, false, kind)?;
            Ok(Some((*level, [combined.f_sub(&half)?, combined.f_add(&half)?])))
        };
        let ends = levels.iter().map(of_level).collect::<Result<Vec<_>>>()?;
        for member in members {
            ensure!(
                member.rows == first.rows,
                "cannot combine forecasts of different rows, expected the same"
            );
        }
        Ok(Fold {
            cutoff: first.cutoff,
            rows: first.rows.clone(),
            made: combined,
            actual: first.actual.shallow_clone(),
            ends: ends.into_iter().flatten().collect(),
            spread: None,
        })
    }
}

impl EnsembleConfig {
    /// Returns whether there is an ensemble.
    pub fn is_some(&self) -> bool {
        !self.ensemble.is_empty()
    }
}

/// Returns the median of `[models, ...]`, the mean of both middle values for an even number of models.
fn median(values: &Tensor) -> Result<Tensor> {
    let (sorted, _) = values.f_sort(0, false)?;
    let models = sorted.size()[0];
    let (low, high) = ((models - 1) / 2, models / 2);
    Ok(sorted.f_select(0, low)?.f_add(&sorted.f_select(0, high)?)?.f_mul_scalar(0.5)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(values: &[f64], spread: &[f64]) -> Fold {
        let column = |values: &[f64]| Tensor::from_slice(values).view([-1, 1]);
        let made = column(values);
        let level = 80.try_into().unwrap();
        Fold {
            cutoff: 7,
            rows: (7..7 + values.len()).collect(),
            ends: vec![(level, [&made - 1.0, &made + 1.0 + column(spread)])],
            actual: column(&vec![0.0; values.len()]),
            spread: Some(column(spread)),
            made,
        }
    }

    fn values(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.view([-1])).unwrap()
    }

    #[test]
    fn combined_folds_have_the_mean_median_or_weighted_mean() {
        let (a, b, c) =
            (fold(&[1.0, 2.0], &[1.0, 1.0]), fold(&[3.0, 4.0], &[2.0, 1.0]), fold(&[11.0, 3.0], &[4.0, 2.0]));
        let all = [&a, &b, &c];
        let made = |how: Combine, members: &[&Fold]| values(&how.folds(members).unwrap().made);
        assert_eq!(made(Combine::Mean, &all), [5.0, 3.0]);
        assert_eq!(made(Combine::Median, &all), [3.0, 3.0]);
        assert_eq!(made(Combine::Median, &all[..2]), [2.0, 3.0]);
        // The weights are 1, 1/2, 1/4, and 1, 1, 1/2.
        assert_eq!(made(Combine::Error, &all), [(1.0 + 1.5 + 2.75) / 1.75, (2.0 + 4.0 + 1.5) / 2.5]);
        let combined = Combine::Mean.folds(&all).unwrap();
        let (_, [low, high]) = &combined.ends[0];
        // The mean of the halves 1.5, 2 and 3.
        assert!(
            (values(low)[0] - (5.0 - 6.5 / 3.0)).abs() < 1e-12
                && (values(high)[0] - (5.0 + 6.5 / 3.0)).abs() < 1e-12
        );
        let without = Fold { spread: None, ..fold(&[1.0, 1.0], &[1.0, 1.0]) };
        assert!(Combine::Error.folds(&[&a, &without]).is_err());
        assert!(Combine::Mean.folds(&[]).is_err());
    }
}
