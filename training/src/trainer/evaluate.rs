//! Evaluation: loss and metrics without training.

use anyhow::Result;
use tch::Kind;
use text_recognizer::data::{Batch, DataLoader};
use text_recognizer::lit_models::LitModel;
use text_recognizer::nn::ForwardContext;

use super::state::MeanMetrics;
use super::strategy::Strategy;

/// Returns loss and metrics over all batches of a loader and over all ranks, named `STAGE_loss` and `STAGE_METRIC`.
/// `matmul_kind` is the dtype of matrix products; `None` is that of the weights.
///
/// # Errors
/// Fails if a batch does not have the shapes that the model expects.
pub fn evaluate(
    lit: &dyn LitModel,
    loader: &DataLoader,
    stage: &str,
    matmul_kind: Option<Kind>,
    strategy: &dyn Strategy,
) -> Result<Vec<(String, f64)>> {
    evaluate_batches(lit, loader.epoch(0, 0), stage, matmul_kind, strategy)
}

/// Returns loss and metrics over some batches, under the names of [`evaluate`].
///
/// # Errors
/// Fails if a batch does not have the shapes that the model expects.
pub(super) fn evaluate_batches(
    lit: &dyn LitModel,
    batches: impl Iterator<Item = text_recognizer::Result<Batch>>,
    stage: &str,
    matmul_kind: Option<Kind>,
    strategy: &dyn Strategy,
) -> Result<Vec<(String, f64)>> {
    let mut means = MeanMetrics::default();
    tch::no_grad(|| -> Result<()> {
        for batch in batches {
            let batch = batch?;
            // A batch of fewer rows than ranks is empty for some of them, and the mean of no losses is NaN.
            if batch.is_empty() {
                continue;
            }
            let output = lit.step(&batch, &mut ForwardContext::eval().matmul_kind(matmul_kind))?;
            means.add(&output, lit.metrics(false))?;
        }
        Ok(())
    })?;
    means.values(stage, lit.metrics(false), strategy)
}
