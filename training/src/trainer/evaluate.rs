//! Loss and metrics of data that is not trained on.

use anyhow::Result;
use tch::Kind;
use text_recognizer::data::{Batch, DataLoader};
use text_recognizer::lit_models::LitModel;
use text_recognizer::models::ForwardContext;

use super::state::Averages;

/// Loss and metrics of a whole loader, as `STAGE_loss` and `STAGE_METRIC`.
///
/// # Errors
/// When the batches are not the model's.
pub fn evaluate(
    lit: &dyn LitModel,
    loader: &DataLoader,
    stage: &str,
    matmul_kind: Option<Kind>,
) -> Result<Vec<(String, f64)>> {
    evaluate_batches(lit, loader.epoch(0, 0), stage, matmul_kind)
}

/// As [`evaluate`], of some batches.
///
/// # Errors
/// As [`evaluate`].
pub(super) fn evaluate_batches(
    lit: &dyn LitModel,
    batches: impl Iterator<Item = text_recognizer::Result<Batch>>,
    stage: &str,
    matmul_kind: Option<Kind>,
) -> Result<Vec<(String, f64)>> {
    let mut averages = Averages::default();
    tch::no_grad(|| -> Result<()> {
        for batch in batches {
            let batch = batch?;
            let output = lit.step(&batch, &mut ForwardContext::eval().matmul_kind(matmul_kind))?;
            averages.add(&output, batch.len())?;
        }
        Ok(())
    })?;
    Ok(averages.values(stage))
}
