//! Static covariates: columns that have one value per series.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::time_series::Series;

/// The most inputs of static covariates, which bounds the size of a model.
const MOST_INPUTS: usize = 1000;

/// The columns with one value per series, as a network gets them: numbers scaled to mean 0 and std 1 over the series, and texts as one
/// input per category.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Statics(Vec<Static>);

/// A column with one value per series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Static {
    name: String,
    /// The mean and the std of a column of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scaling: Option<[f64; 2]>,
    /// The categories of a column of texts, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    categories: Vec<String>,
}

impl Statics {
    /// Fits the columns `names` to the values of `series`: a column is of numbers if all of its values are.
    ///
    /// # Errors
    /// Fails if there are too many categories.
    pub fn fit<'a>(names: &[String], series: impl Iterator<Item = &'a Series> + Clone) -> Result<Self> {
        let column = |(at, name): (usize, &String)| {
            let cells = series.clone().filter_map(|series| series.statics.get(at));
            let numbers: Option<Vec<f64>> = cells.clone().map(|cell| number(cell)).collect();
            let mut column = Static { name: name.clone(), scaling: None, categories: Vec::new() };
            match numbers {
                Some(numbers) => {
                    let count = numbers.len().max(1) as f64;
                    let mean = numbers.iter().sum::<f64>() / count;
                    let std =
                        (numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / count).sqrt();
                    let is_usable = mean.is_finite() && std.is_finite() && std > 0.0;
                    column.scaling =
                        Some([if mean.is_finite() { mean } else { 0.0 }, if is_usable { std } else { 1.0 }]);
                }
                None => {
                    column.categories = cells.cloned().collect();
                    column.categories.sort_unstable();
                    column.categories.dedup();
                }
            }
            column
        };
        let statics = Self(names.iter().enumerate().map(column).collect());
        let inputs = statics.inputs();
        ensure!(
            inputs <= MOST_INPUTS,
            "--static_covariates: found {inputs} categories and numbers, expected at most {MOST_INPUTS}; try fewer columns"
        );
        Ok(statics)
    }

    /// Returns the names of the columns.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|column| column.name.clone()).collect()
    }

    /// Returns the number of inputs.
    pub fn inputs(&self) -> usize {
        self.0.iter().map(Static::inputs).sum()
    }

    /// Checks the numbers of a checkpoint.
    ///
    /// # Errors
    /// Fails if a scaling is not finite and positive.
    pub fn check(&self) -> Result<()> {
        for Static { name, scaling, .. } in &self.0 {
            ensure!(
                scaling.is_none_or(|[mean, std]| mean.is_finite() && std.is_finite() && std > 0.0),
                "the scaling of its static covariate {name} is not valid, expected a finite mean and a positive std"
            );
        }
        Ok(())
    }

    /// Returns the inputs of a series with these values, `[inputs]`. A category that no series had in training is 0 in all inputs.
    ///
    /// # Errors
    /// Fails if a value of a column of numbers is no number.
    pub fn encode(&self, series: &Series) -> Result<Vec<f64>> {
        ensure!(
            series.statics.len() == self.0.len(),
            "series {}: found {} static covariates, expected {}",
            series.key,
            series.statics.len(),
            self.0.len()
        );
        let mut inputs = Vec::with_capacity(self.inputs());
        for (column, cell) in self.0.iter().zip(&series.statics) {
            match column.scaling {
                Some([mean, std]) => {
                    let value = number(cell);
                    ensure!(
                        value.is_some(),
                        "series {}, column {}: found {cell:?}, expected a number as in training",
                        series.key,
                        column.name
                    );
                    inputs.extend(value.map(|value| (value - mean) / std));
                }
                None => inputs
                    .extend(column.categories.iter().map(|category| f64::from(u8::from(category == cell)))),
            }
        }
        Ok(inputs)
    }

    /// Returns the categories of `series` that no series had in training, as `COLUMN VALUE`.
    pub fn unknown(&self, series: &Series) -> Vec<String> {
        let each = self.0.iter().zip(&series.statics);
        let unknown =
            each.filter(|(column, cell)| column.scaling.is_none() && !column.categories.contains(cell));
        unknown.map(|(column, cell)| format!("{} {cell}", column.name)).collect()
    }
}

impl Static {
    fn inputs(&self) -> usize {
        if self.scaling.is_some() { 1 } else { self.categories.len() }
    }
}

fn number(cell: &str) -> Option<f64> {
    cell.parse().ok().filter(|number: &f64| number.is_finite())
}
