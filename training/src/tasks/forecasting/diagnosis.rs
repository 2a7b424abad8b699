//! Findings about a result: a model that is worse than a baseline, and the reasons for it.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};
use tch::{Kind, Tensor};
use text_recognizer::lit_models::{LitModel, MetricName};
use text_recognizer::nn::ForwardContext;

use super::comparison::Comparison;
use crate::format::{count, number};
use crate::time_series::{Baseline, Forecast, SeriesDataModule};
use crate::trainer::{FitSummary, Loaders, LossRange};

/// The least relative change of a training loss that moves.
const STILL: f64 = 1e-3;
/// The share of the std of the actual values below which forecasts are constant.
const CONSTANT: f64 = 1e-3;

/// A finding about a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// An identifier for programs.
    kind: &'static str,
    /// A sentence for the terminal, with a flag to try.
    text: String,
}

/// The findings about a result.
#[derive(Debug, Default)]
pub struct Diagnosis(Vec<Finding>);

impl Diagnosis {
    /// Returns the findings as lines for the terminal.
    pub fn table(&self) -> String {
        self.0.iter().map(|finding| format!("{}\n", finding.text)).collect()
    }

    /// Returns the findings as JSON.
    pub fn json(&self) -> Value {
        self.0.iter().map(|Finding { kind, text }| json!({"kind": kind, "text": text})).collect()
    }

    /// Compares a network with the baselines, and looks for the reasons if it is worse than one of them.
    ///
    /// # Errors
    /// Fails if the network cannot forecast the validation split.
    pub fn of_network(
        comparison: &Comparison,
        forecast: &Forecast,
        module: &SeriesDataModule,
        (lit, loaders, summary): (&dyn LitModel, &Loaders, &FitSummary),
    ) -> Result<Self> {
        let mut findings = worse(comparison, module);
        let constant = is_constant(forecast)?;
        if findings.is_empty() && !constant {
            return Ok(Self::default());
        }
        findings.extend(dead_layers(lit, loaders)?);
        findings.extend(still(summary));
        findings.extend(first_is_best(summary));
        if constant {
            findings.push(Finding {
                kind: "constant",
                text: "the forecasts are constant; try a larger --lr, more --max_epochs or another --seed"
                    .into(),
            });
        }
        Ok(Self(findings))
    }
}

/// Returns the baselines without parameters that the model is worse than.
fn worse(comparison: &Comparison, module: &SeriesDataModule) -> Vec<Finding> {
    let (_, mae) = comparison.model();
    let season = module.baselines().season;
    let longer = season.filter(|&season| module.window_size() < season);
    let advice = |baseline| match longer {
        Some(season) if baseline == Baseline::SeasonalNaive => {
            format!("--window_size {season}, the rows of a season")
        }
        _ if module.scaler().is_identity() => "--scaling standard or --scaling last".to_owned(),
        _ if !module.scaler().is_per_window() => "--scaling last or --lr_find".to_owned(),
        _ => "--lr_find, more --max_epochs or another --window_size".to_owned(),
    };
    let each =
        [(Baseline::Naive, "worse_than_naive"), (Baseline::SeasonalNaive, "worse_than_seasonal_naive")];
    let found = each.into_iter().filter_map(|(baseline, kind)| {
        let name = baseline.name();
        // A forecast that is not finite is worse too.
        let other = comparison.mae(name).filter(|other| mae.is_nan() || mae > *other)?;
        let (mae, other) = (number(mae), number(other));
        let text = format!("worse than {name}: MAE {mae}, {name} {other}; try {}", advice(baseline));
        Some(Finding { kind, text })
    });
    found.collect()
}

/// Returns whether the forecasts of all columns do not change, although the actual values do.
fn is_constant(forecast: &Forecast) -> Result<bool> {
    let std = |values: &Tensor| -> Result<Vec<f64>> {
        let present = values.f_isfinite()?;
        let count = present.f_sum_dim_intlist(0, false, Kind::Double)?;
        let mean = |x: &Tensor| x.f_nansum(0, false, Kind::Double)?.f_div(&count);
        let values = values.f_where_scalarother(&present, f64::NAN)?;
        let variance = mean(&values.f_sub(&mean(&values)?)?.f_square()?)?;
        Ok(Vec::try_from(variance.f_sqrt()?)?)
    };
    let actual = std(&forecast.actual)?;
    let moves = std(&Tensor::f_cat(&forecast.steps, 0)?)?.into_iter().zip(actual);
    let enough = forecast.metric(MetricName::Mae)?.is_some() && forecast.time.len() > 1;
    Ok(enough && moves.into_iter().all(|(made, actual)| made < CONSTANT * actual))
}

/// Returns the layers with ReLU whose units are 0 for every window of the validation split.
fn dead_layers(lit: &dyn LitModel, loaders: &Loaders) -> Result<Vec<Finding>> {
    let Some(val) = &loaders.val else { return Ok(Vec::new()) };
    let (mut largest, mut windows) = (BTreeMap::<String, Tensor>::new(), 0);
    for batch in val.epoch(0, 0) {
        let batch = batch?;
        windows += batch.len() as u64;
        let mut observe = |name: &str, output: &Tensor| {
            let Some(layer) = name.strip_suffix(".relu") else { return };
            let units = output.reshape([-1, output.size().last().copied().unwrap_or(1)]).amax([0], false);
            let units =
                largest.get(layer).map_or_else(|| units.shallow_clone(), |before| before.maximum(&units));
            largest.insert(layer.to_owned(), units);
        };
        let mut context = ForwardContext::eval().observed(Box::new(&mut observe));
        tch::no_grad(|| lit.step(&batch, &mut context))?;
    }
    let dead = largest.into_iter().filter(|(_, units)| units.max().double_value(&[]) <= 0.0);
    let found = dead.map(|(layer, units)| Finding {
        kind: "dead_relu",
        text: format!(
            "all {} of the layer {layer} are 0 for {} of the validation split (dead ReLUs); try a smaller --lr, --scaling \
             standard or another --seed",
            count(units.numel() as u64, "unit"),
            count(windows, "window"),
        ),
    });
    Ok(found.collect())
}

/// Returns a finding if the training loss is the same after all epochs of this process.
fn still(summary: &FitSummary) -> Option<Finding> {
    let LossRange { epochs, least, greatest } = summary.losses?;
    let change = (greatest - least) / greatest.abs();
    (epochs > 1 && change < STILL).then(|| Finding {
        kind: "still_loss",
        text: format!(
            "the training loss did not move: {} to {} in {}; try a larger --lr or --lr_find",
            number(least),
            number(greatest),
            count(epochs, "epoch")
        ),
    })
}

/// Returns a finding if no epoch after the first improved the validation loss.
fn first_is_best(summary: &FitSummary) -> Option<Finding> {
    let best = summary.best.as_ref().filter(|best| best.epoch <= 1 && summary.epochs > 1)?;
    Some(Finding {
        kind: "first_is_best",
        text: format!(
            "the first of {} has the best {}; try a smaller --lr, --scaling standard or --scaling last",
            count(summary.epochs, "epoch"),
            best.metric
        ),
    })
}

#[cfg(test)]
mod tests;
