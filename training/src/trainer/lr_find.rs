//! The learning-rate sweep: the loss at rates from small to large, on a copy of the weights.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use text_recognizer::lit_models::{LitModel, Running};
use text_recognizer::nn::ForwardContext;
use text_recognizer::optim::Optimizer;

use super::{Loaders, Signals, TrainerConfig};
use crate::flags::default_flags;
use text_recognizer::util::files::write_atomic;

/// What happens after a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum AfterLrFind {
    /// The run goes on with the suggested rate.
    Fit,
    /// Nothing: the sweep was all.
    Only,
}

/// How long one rate is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Interval {
    /// One batch.
    Step,
    /// All batches.
    Epoch,
}

/// The rates of a sweep: `min * (max / min)^(i / points)` for `i` in `0..points`.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LrFindConfig {
    /// First try learning rates from small to large; then train with the suggested one, or do not.
    #[arg(long = "lr_find", visible_alias = "auto_lr_find", value_enum, num_args = 0..=1, default_missing_value = "fit")]
    pub lr_find: Option<AfterLrFind>,
    /// Smallest rate of the sweep.
    #[arg(long = "lr_find_min", default_value = "1e-8")]
    pub lr_find_min: f64,
    /// Largest rate of the sweep, which is not reached.
    #[arg(long = "lr_find_max", default_value_t = 1.0)]
    pub lr_find_max: f64,
    /// Number of rates.
    #[arg(long = "lr_find_points", default_value_t = 100)]
    pub lr_find_points: u32,
    /// How long each rate is tried.
    #[arg(long = "lr_find_interval", value_enum, default_value_t = Interval::Step)]
    pub lr_find_interval: Interval,
}

impl Default for LrFindConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl LrFindConfig {
    /// The flags that a resumed run may change.
    pub const FREE: &[&str] =
        &["lr_find", "lr_find_min", "lr_find_max", "lr_find_points", "lr_find_interval"];
}

/// The result of the learning-rate finder.
#[derive(Debug)]
pub struct LrFindResult {
    /// The rates, ascending; shorter than asked for where the loss blew up.
    pub lrs: Vec<f64>,
    /// The mean loss at each; the last may be non-finite.
    pub losses: Vec<f64>,
    /// What to train with.
    pub suggestion: f64,
    /// Why.
    pub reason: String,
}

/// Tries the rates on `lit`, whose weights are afterwards as they were; breaks off with the signal that asks for an end.
///
/// # Errors
/// When the configuration is impossible, or no rate gives a finite loss.
pub fn lr_find(
    config: &LrFindConfig,
    trainer: &TrainerConfig,
    lit: &dyn LitModel,
    loaders: &Loaders,
    signals: &Signals,
) -> Result<ControlFlow<i32, LrFindResult>> {
    let (min, max, points) = (config.lr_find_min, config.lr_find_max, config.lr_find_points);
    ensure!(
        min > 0.0 && max > min && max.is_finite(),
        "--lr_find_min {min} --lr_find_max {max}: expected 0 < min < max"
    );
    ensure!(points >= 3, "--lr_find_points is {points}: expected at least 3");
    let weights = lit.parameters().snapshot();
    let tried = try_rates(config, trainer, lit, loaders, signals);
    lit.parameters().load(&weights)?;
    let (lrs, losses) = tried?;
    Ok(match signals.stop() {
        Some(signal) => ControlFlow::Break(signal),
        None => ControlFlow::Continue(suggest(lrs, losses)?),
    })
}

fn try_rates(
    config: &LrFindConfig,
    trainer: &TrainerConfig,
    lit: &dyn LitModel,
    loaders: &Loaders,
    signals: &Signals,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut optimizer = Optimizer::new(&lit.config().optimizer, lit.parameters())?;
    let per_point = if config.lr_find_interval == Interval::Epoch { loaders.train.len() } else { 1 };
    let mut batches = (0..).flat_map(|epoch| loaders.train.epoch(epoch, 0));
    let (mut lrs, mut losses, mut seen) = (Vec::new(), Vec::<f64>::new(), 0);
    for point in 0..config.lr_find_points {
        let share = f64::from(point) / f64::from(config.lr_find_points);
        let lr = config.lr_find_min * (config.lr_find_max / config.lr_find_min).powf(share);
        let mut mean = Running::default();
        for batch in batches.by_ref().take(per_point).take_while(|_| signals.stop().is_none()) {
            let batch = batch?;
            let mut context =
                ForwardContext::train(trainer.seed, seen).matmul_kind(trainer.device.matmul_kind());
            let output = lit.step(&batch, &mut context)?;
            mean.add_mean(&output.loss, batch.len() as i64)?;
            optimizer.step(&context.gradients(&output.loss, lit.parameters().tensors())?, lr)?;
            seen += 1;
        }
        let loss = mean.mean().unwrap_or(f64::NAN);
        lrs.push(lr);
        losses.push(loss);
        // Nothing is learned about larger rates from weights that are lost.
        let first = losses[0];
        if !loss.is_finite() || loss > 100.0 * first.abs().max(1e-12) || signals.stop().is_some() {
            break;
        }
    }
    Ok((lrs, losses))
}

/// A quarter of the rate where the smoothed loss is lowest: the lowest point itself is where the loss is about to
/// turn, and a whole run needs a margin.
fn suggest(lrs: Vec<f64>, losses: Vec<f64>) -> Result<LrFindResult> {
    let finite = losses.iter().take_while(|loss| loss.is_finite()).count();
    if finite < 3 {
        bail!(
            "the learning-rate sweep has {finite} finite losses, from {:e}: try a smaller --lr_find_min",
            lrs[0]
        );
    }
    let smoothed = |i: usize| {
        let window = &losses[i.saturating_sub(1)..(i + 2).min(finite)];
        window.iter().sum::<f64>() / window.len() as f64
    };
    let lowest = (0..finite).min_by(|&a, &b| smoothed(a).total_cmp(&smoothed(b))).unwrap_or(0);
    let suggestion = lrs[lowest] / 4.0;
    let reason =
        format!("a quarter of {:.2e}, where the loss was lowest ({:.4})", lrs[lowest], losses[lowest]);
    Ok(LrFindResult { lrs, losses, suggestion, reason })
}

impl LrFindResult {
    /// Writes `lr,loss` as CSV.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        let rows = self.lrs.iter().zip(&self.losses).map(|(lr, loss)| format!("{lr:e},{loss}\n"));
        Ok(write_atomic(path, ("lr,loss\n".to_owned() + &rows.collect::<String>()).as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suggestion_is_below_the_lowest_loss_and_blow_ups_do_not_count() {
        let lrs: Vec<f64> = (0..6).map(|i| 10f64.powi(i - 6)).collect();
        let result = suggest(lrs.clone(), vec![5.0, 4.0, 2.0, 1.0, 9.0, f64::NAN]).unwrap();
        assert_eq!(result.suggestion, 1e-4 / 4.0);
        assert!(result.reason.contains("1.00e-4") && result.reason.contains("2.0000"), "{}", result.reason);
        assert!(suggest(lrs, vec![5.0, f64::NAN, 2.0, 1.0, 9.0, 9.0]).is_err());
    }
}
