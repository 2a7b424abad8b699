//! The learning-rate finder: measures the loss at learning rates from small to large, then restores the weights.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use text_recognizer::lit_models::{LitModel, Running};
use text_recognizer::nn::ForwardContext;

use super::state::mean;
use super::strategy::{Flags, Strategy};
use super::{Loaders, Signals, TrainerConfig};
use crate::flags::default_flags;
use text_recognizer::util::files::write_atomic;

/// The action after the learning-rate finder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum AfterLrFind {
    /// Train with the suggested learning rate.
    Fit,
    /// Stop after the learning-rate finder.
    Only,
}

/// The length of the training at each learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Interval {
    /// One batch.
    Step,
    /// All batches of an epoch.
    Epoch,
}

/// The flags of the learning-rate finder. It tries the rates `min * (max / min)^(i / points)` for `i` in `0..points`.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LrFindConfig {
    /// Run the learning-rate finder, then train with the suggested rate (fit) or stop (only).
    #[arg(long = "lr_find", visible_alias = "auto_lr_find", value_enum, num_args = 0..=1, default_missing_value = "fit")]
    pub lr_find: Option<AfterLrFind>,
    /// Start the learning-rate finder at this rate, above 0.
    #[arg(long = "lr_find_min", default_value = "1e-8")]
    pub lr_find_min: f64,
    /// End the learning-rate finder below this rate.
    #[arg(long = "lr_find_max", default_value_t = 1.0)]
    pub lr_find_max: f64,
    /// Try this many learning rates, at least 3.
    #[arg(long = "lr_find_points", default_value_t = 100)]
    pub lr_find_points: u32,
    /// Train for this long at each learning rate.
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
    /// The learning rates, ascending; fewer than `--lr_find_points` if the loss diverged.
    pub lrs: Vec<f64>,
    /// The mean loss at each learning rate; the last may be non-finite.
    pub losses: Vec<f64>,
    /// The suggested learning rate.
    pub suggestion: f64,
    /// The reason for the suggestion, as text.
    pub reason: String,
}

/// Trains `lit` at each learning rate, restores its weights, and suggests a learning rate. Returns `Break` with the
/// signal if one arrived.
///
/// # Errors
/// Fails if the configuration is impossible, or fewer than three losses are finite.
pub fn lr_find(
    config: &LrFindConfig,
    trainer: &TrainerConfig,
    lit: &dyn LitModel,
    loaders: &Loaders,
    signals: &Signals,
    strategy: &dyn Strategy,
) -> Result<ControlFlow<i32, LrFindResult>> {
    let (min, max, points) = (config.lr_find_min, config.lr_find_max, config.lr_find_points);
    ensure!(
        min > 0.0 && max > min && max.is_finite(),
        "cannot run the learning-rate finder: --lr_find_min is {min} and --lr_find_max is {max}, expected 0 < min < max"
    );
    ensure!(
        points >= 3,
        "cannot run the learning-rate finder: --lr_find_points is {points}, expected at least 3"
    );
    let weights = lit.parameters().snapshot();
    let tried = try_rates(config, trainer, lit, loaders, signals, strategy);
    lit.parameters().load(&weights)?;
    Ok(match tried? {
        ControlFlow::Break(signal) => ControlFlow::Break(signal),
        ControlFlow::Continue(points) => {
            let (lrs, losses) = points.into_iter().unzip();
            ControlFlow::Continue(suggest(lrs, losses)?)
        }
    })
}

/// Returns pairs of a learning rate and its mean loss, or `Break` with the signal if one arrived. Stops early if the loss
/// diverges.
fn try_rates(
    config: &LrFindConfig,
    trainer: &TrainerConfig,
    lit: &dyn LitModel,
    loaders: &Loaders,
    signals: &Signals,
    strategy: &dyn Strategy,
) -> Result<ControlFlow<i32, Vec<(f64, f64)>>> {
    let mut optimizer = lit.optimizer()?;
    let per_point = if config.lr_find_interval == Interval::Epoch { loaders.train.len() } else { 1 };
    let mut batches = (0..).flat_map(|epoch| loaders.train.epoch(epoch, 0));
    let (mut points, mut seen) = (Vec::<(f64, f64)>::new(), 0);
    for point in 0..config.lr_find_points {
        let share = f64::from(point) / f64::from(config.lr_find_points);
        let lr = config.lr_find_min * (config.lr_find_max / config.lr_find_min).powf(share);
        let mut running = Running::default();
        for batch in batches.by_ref().take(per_point) {
            let batch = batch?;
            let mut context = ForwardContext::train(trainer.seed, seen)
                .rank(strategy.rank())
                .matmul_kind(trainer.device.matmul_kind());
            let output = lit.step(&batch, &mut context)?;
            running.add_mean(&output.loss, &output.rows)?;
            let mut grads = context.gradients(&output.loss, lit.parameters().tensors())?;
            strategy.all_reduce_mean(&mut grads)?;
            optimizer.step(&grads, lr)?;
            seen += 1;
            if let Some(signal) = strategy.agree(Flags { stop: signals.stop(), ..Flags::default() })?.stop {
                return Ok(ControlFlow::Break(signal));
            }
        }
        let loss = mean(&mut running, strategy)?.unwrap_or(f64::NAN);
        points.push((lr, loss));
        // The loss diverged, so these weights give no information about larger rates.
        let (_, first) = points[0];
        if !loss.is_finite() || loss > 100.0 * first.abs().max(1e-12) {
            break;
        }
    }
    Ok(ControlFlow::Continue(points))
}

/// Suggests a quarter of the rate with the lowest smoothed loss (a mean of three points). At the lowest point itself,
/// the loss is about to rise, and a whole run needs a margin.
///
/// # Errors
/// Fails if fewer than three losses are finite.
fn suggest(lrs: Vec<f64>, losses: Vec<f64>) -> Result<LrFindResult> {
    let finite = losses.iter().take_while(|loss| loss.is_finite()).count();
    if finite < 3 {
        bail!(
            "cannot suggest a learning rate: {finite} losses from {:e} on are finite, expected at least 3; try a smaller \
             --lr_find_min",
            lrs[0]
        );
    }
    let smoothed = |i: usize| {
        let window = &losses[i.saturating_sub(1)..(i + 2).min(finite)];
        window.iter().sum::<f64>() / window.len() as f64
    };
    let lowest = (0..finite).min_by(|&a, &b| smoothed(a).total_cmp(&smoothed(b))).unwrap_or(0);
    let suggestion = lrs[lowest] / 4.0;
    let (rate, loss) = (lrs[lowest], smoothed(lowest));
    let reason = format!(
        "a quarter of {rate:.2e}, which has the lowest mean loss of three neighboring rates ({loss:.4})"
    );
    Ok(LrFindResult { lrs, losses, suggestion, reason })
}

impl LrFindResult {
    /// Writes a CSV file with the columns `lr` and `loss`, a row per learning rate.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        let rows = self.lrs.iter().zip(&self.losses).map(|(lr, loss)| format!("{lr:e},{loss}\n"));
        Ok(write_atomic(path, ("lr,loss\n".to_owned() + &rows.collect::<String>()).as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggest_of_diverging_losses_is_a_quarter_of_the_best_rate() {
        let lrs: Vec<f64> = (0..6).map(|i| 10f64.powi(i - 6)).collect();
        let result = suggest(lrs.clone(), vec![5.0, 4.0, 2.0, 1.0, 9.0, f64::NAN]).unwrap();
        assert_eq!(result.suggestion, 1e-4 / 4.0);
        assert!(result.reason.contains("1.00e-4") && result.reason.contains("2.3333"), "{}", result.reason);
        assert!(suggest(lrs, vec![5.0, f64::NAN, 2.0, 1.0, 9.0, 9.0]).is_err());
    }
}
