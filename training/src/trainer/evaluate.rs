//! Loss and metrics of data that is not trained on.

use anyhow::Result;
use tch::Kind;
use text_recognizer::data::{Batch, DataLoader};
use text_recognizer::lit_models::LitModel;
use text_recognizer::nn::ForwardContext;

use super::state::MeanMetrics;
use super::strategy::Strategy;

/// Returns loss and metrics over a whole loader, as `STAGE_loss` and `STAGE_METRIC`.
///
/// # Errors
/// Fails if the batches do not have the shapes of the model.
pub fn evaluate(
    lit: &dyn LitModel,
    loader: &DataLoader,
    stage: &str,
    matmul_kind: Option<Kind>,
    strategy: &dyn Strategy,
) -> Result<Vec<(String, f64)>> {
    evaluate_batches(lit, loader.epoch(0, 0), stage, matmul_kind, strategy)
}

/// Returns loss and metrics over some batches, as [`evaluate`] does.
///
/// # Errors
/// As [`evaluate`].
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
            let output = lit.step(&batch, &mut ForwardContext::eval().matmul_kind(matmul_kind))?;
            means.add(&output, lit.metrics(false), batch.len())?;
        }
        Ok(())
    })?;
    means.values(stage, lit.metrics(false), strategy)
}
