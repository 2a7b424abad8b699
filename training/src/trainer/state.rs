//! The state of the training loop, in a form that a checkpoint can contain.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use text_recognizer::lit_models::{Metric, Running, StepOutput};
use text_recognizer::util::any_float;

use super::strategy::Strategy;

/// The position of the loop. Together with the weights, the optimizer and the seed, it determines the rest of the run.
#[derive(Debug, Default)]
pub struct LoopState {
    /// Finished epochs.
    pub epoch: u64,
    /// Finished batches of the current epoch.
    pub batch: usize,
    /// Optimizer steps.
    pub step: u64,
    /// Finished batches of all epochs. The dropout noise depends on this number.
    pub batches_seen: u64,
    /// Batches that were skipped because of a non-finite loss or gradient.
    pub skipped: u64,
    /// Training loss and metrics of the current epoch.
    pub train: MeanMetrics,
    /// The validation that a signal interrupted.
    pub interrupted: Option<InterruptedValidation>,
}

/// A validation that a signal interrupted. A resumed run repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptedValidation {
    /// Finished batches of its epoch.
    pub batch: usize,
    /// Whether it was at the end of its epoch.
    pub epoch_ends: bool,
}

/// [`LoopState`] in a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedLoopState {
    epoch: u64,
    batch: usize,
    step: u64,
    batches_seen: u64,
    skipped: u64,
    loss: SavedSum,
    metrics: BTreeMap<String, SavedSum>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interrupted: Option<InterruptedValidation>,
}

/// The sum and the count of a running mean. The sum is NaN after a batch whose loss is NaN.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct SavedSum(#[serde(with = "any_float")] f64, i64);

impl SavedSum {
    fn of(running: &mut Running) -> Self {
        let (sum, count) = running.parts();
        Self(sum, count)
    }
}

impl LoopState {
    /// Returns the state for a checkpoint. Synchronizes with the device.
    pub fn save(&mut self) -> SavedLoopState {
        SavedLoopState {
            epoch: self.epoch,
            batch: self.batch,
            step: self.step,
            batches_seen: self.batches_seen,
            skipped: self.skipped,
            loss: SavedSum::of(&mut self.train.loss),
            metrics: self
                .train
                .metrics
                .iter_mut()
                .map(|(name, running)| (name.clone(), SavedSum::of(running)))
                .collect(),
            interrupted: self.interrupted,
        }
    }
}

impl SavedLoopState {
    /// Checks the position for an epoch of `batches` batches.
    ///
    /// # Errors
    /// Fails if the epoch has no batch after the position, or if a number is too large to count on.
    pub fn check(&self, batches: usize) -> Result<()> {
        for (name, number) in [
            ("epoch", self.epoch),
            ("step", self.step),
            ("batches_seen", self.batches_seen),
            ("skipped", self.skipped),
        ] {
            ensure!(
                number < 1 << 62,
                "cannot continue the run: its {name} is {number}, expected less than 2^62"
            );
        }
        let counts = self.metrics.values().chain([&self.loss]).map(|sum| sum.1);
        for count in counts {
            ensure!(
                (0..1 << 62).contains(&count),
                "cannot continue the run: a metric is the mean of {count} values, expected at least 0 and less than 2^62"
            );
        }
        ensure!(
            self.batch < batches.max(1),
            "cannot continue the epoch after batch {}: found {batches} batches in an epoch, expected more; try the data of the \
             run, or --load_checkpoint, which starts a new run from its weights",
            self.batch
        );
        Ok(())
    }
}

impl From<SavedLoopState> for LoopState {
    fn from(saved: SavedLoopState) -> Self {
        let running = |SavedSum(sum, count)| Running::from_parts(sum, count);
        let metrics = saved.metrics.into_iter().map(|(name, parts)| (name, running(parts))).collect();
        Self {
            epoch: saved.epoch,
            batch: saved.batch,
            step: saved.step,
            batches_seen: saved.batches_seen,
            skipped: saved.skipped,
            train: MeanMetrics { loss: running(saved.loss), metrics },
            interrupted: saved.interrupted,
        }
    }
}

/// The means of loss and metrics over batches.
#[derive(Debug, Default)]
pub struct MeanMetrics {
    loss: Running,
    metrics: BTreeMap<String, Running>,
}

impl MeanMetrics {
    /// Adds the output of a batch, which has one sum per metric in `metrics`, in the same order.
    ///
    /// # Errors
    /// Fails if libtorch reports an error.
    pub fn add(&mut self, output: &StepOutput, metrics: &[Box<dyn Metric>]) -> Result<()> {
        self.loss.add_mean(&output.loss, &output.rows)?;
        for (metric, part) in metrics.iter().zip(&output.metrics) {
            if !self.metrics.contains_key(metric.name()) {
                self.metrics.insert(metric.name().to_owned(), Running::default());
            }
            if let Some(running) = self.metrics.get_mut(metric.name()) {
                running.add(&part.sum, &part.count)?;
            }
        }
        Ok(())
    }

    /// Returns the loss as `STAGE_loss` and each of `metrics` as `STAGE_METRIC`, over all ranks. Omits values to which
    /// nothing was added. Synchronizes with the device.
    ///
    /// # Errors
    /// Fails if the connection to another rank is lost.
    pub fn values(
        &mut self,
        stage: &str,
        metrics: &[Box<dyn Metric>],
        strategy: &dyn Strategy,
    ) -> Result<Vec<(String, f64)>> {
        let mut values = Vec::new();
        if let Some(loss) = mean(&mut self.loss, strategy)? {
            values.push((format!("{stage}_loss"), loss));
        }
        for metric in metrics {
            // A rank without rows adds zero: every rank takes part in every sum.
            let running = self.metrics.entry(metric.name().to_owned()).or_default();
            if let Some(mean) = mean(running, strategy)? {
                values.push((format!("{stage}_{}", metric.name()), metric.finish(mean)));
            }
        }
        Ok(values)
    }
}

/// Returns the mean over all ranks; `None` if no rank has added anything.
pub(super) fn mean(running: &mut Running, strategy: &dyn Strategy) -> Result<Option<f64>> {
    let (sum, count) = running.parts();
    let mut parts = [sum, count as f64];
    strategy.all_reduce_sum(&mut parts)?;
    let [sum, count] = parts;
    Ok((count > 0.0).then(|| sum / count))
}
