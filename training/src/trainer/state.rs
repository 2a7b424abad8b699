//! The state of the training loop, in a form that a checkpoint can contain.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use text_recognizer::lit_models::{Metric, Running, StepOutput, mean_of_groups};
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
    loss: SavedSums,
    metrics: BTreeMap<String, SavedSums>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interrupted: Option<InterruptedValidation>,
}

/// The sum and the weight of a running mean. The sum is NaN after a batch whose loss is NaN.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct SavedSum(#[serde(with = "any_float")] f64, f64);

/// The sums of all groups of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum SavedSums {
    /// A metric with one group.
    One(SavedSum),
    /// A metric with any number of groups.
    Groups(Vec<SavedSum>),
}

impl SavedSums {
    fn of(running: &mut Running) -> Self {
        match running.parts() {
            [] => Self::One(SavedSum(0.0, 0.0)),
            &[[sum, weight]] => Self::One(SavedSum(sum, weight)),
            parts => Self::Groups(parts.iter().map(|&[sum, weight]| SavedSum(sum, weight)).collect()),
        }
    }

    fn parts(&self) -> &[SavedSum] {
        match self {
            Self::One(sum) => std::slice::from_ref(sum),
            Self::Groups(sums) => sums,
        }
    }

    fn running(&self) -> Running {
        Running::from_parts(self.parts().iter().map(|&SavedSum(sum, weight)| [sum, weight]).collect())
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
            loss: SavedSums::of(&mut self.train.loss),
            metrics: self
                .train
                .metrics
                .iter_mut()
                .map(|(name, running)| (name.clone(), SavedSums::of(running)))
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
        /// The bound of a sum of weights.
        const MOST: f64 = (1u64 << 62) as f64;
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
        for SavedSum(_, weight) in self.metrics.values().chain([&self.loss]).flat_map(SavedSums::parts) {
            ensure!(
                (0.0..MOST).contains(weight),
                "cannot continue the run: a metric is the mean of {weight} values, expected at least 0 and less than 2^62"
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
        let metrics = saved.metrics.into_iter().map(|(name, sums)| (name, sums.running())).collect();
        Self {
            epoch: saved.epoch,
            batch: saved.batch,
            step: saved.step,
            batches_seen: saved.batches_seen,
            skipped: saved.skipped,
            train: MeanMetrics { loss: saved.loss.running(), metrics },
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
            let parts = reduced(running, metric.groups(), strategy)?;
            if let Some(value) = mean_of_groups(&parts, |mean| metric.finish(mean)) {
                values.push((format!("{stage}_{}", metric.name()), value));
            }
        }
        Ok(values)
    }
}

/// Returns the mean over all ranks; `None` if no rank has added anything.
pub(super) fn mean(running: &mut Running, strategy: &dyn Strategy) -> Result<Option<f64>> {
    Ok(mean_of_groups(&reduced(running, 1, strategy)?, |mean| mean))
}

/// Returns the sums and weights of `groups` groups over all ranks.
fn reduced(running: &mut Running, groups: usize, strategy: &dyn Strategy) -> Result<Vec<[f64; 2]>> {
    let mut parts = running.parts().to_vec();
    // A rank to which nothing was added has no groups yet.
    parts.resize(parts.len().max(groups), [0.0; 2]);
    strategy.all_reduce_sum(parts.as_flattened_mut())?;
    Ok(parts)
}
