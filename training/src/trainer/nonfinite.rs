//! The handling of NaN and infinity, and the search for their origin.

use clap::{ArgAction, Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use text_recognizer::Result;
use text_recognizer::data::Batch;
use text_recognizer::lit_models::LitModel;
use text_recognizer::nn::{ForwardContext, is_finite};

use crate::flags::default_flags;

/// The action on a loss or a gradient that is NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum OnNonfinite {
    /// Stop with an error that names the origin of the value.
    Stop,
    /// Skip the step.
    Skip,
    /// Restore weights and optimizer from the start of the epoch (or the last --checkpoint_every_n_steps), and continue with
    /// the next batch.
    Restore,
}

/// The flags for NaN and infinity.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NonfiniteConfig {
    /// Set the action on a loss or gradient that is NaN or infinite.
    #[arg(long = "on_nonfinite", value_enum, default_value_t = OnNonfinite::Stop)]
    pub on_nonfinite: OnNonfinite,
    /// Check the output of every layer for NaN and infinity, not only the loss and the gradients (slow).
    #[arg(long = "detect_anomaly", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub detect_anomaly: bool,
}

impl Default for NonfiniteConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl NonfiniteConfig {
    /// The flags that a resumed run may change.
    pub const FREE: &[&str] = &["on_nonfinite", "detect_anomaly"];
}

/// Repeats the forward and the backward pass of `batch`, checks every layer, and returns a description of the first
/// non-finite value. The passes are identical to those that failed: the dropout noise is a pure function of the seed
/// and the step in `context`.
///
/// # Errors
/// Fails if a pass itself fails.
pub fn diagnose(lit: &dyn LitModel, batch: &Batch, context: ForwardContext<'_>) -> Result<String> {
    if let Some((name, _)) = lit.parameters().iter().find(|(_, parameter)| !is_finite(parameter)) {
        return Ok(format!("the weight {name} was non-finite before this step"));
    }
    if !is_finite(&batch.x) {
        return Ok("the inputs of the batch are non-finite".into());
    }
    if !is_finite(&batch.y) {
        return Ok("the targets of the batch are non-finite".into());
    }
    let mut first: Option<String> = None;
    let mut context = context.observed(Box::new(|name: &str, output: &Tensor| {
        if first.is_none() && !is_finite(output) {
            first = Some(name.to_owned());
        }
    }));
    let output = lit.step(batch, &mut context)?;
    let parameters = lit.parameters();
    let grads = context.gradients(&output.loss, parameters.tensors())?;
    if let Some(layer) = first {
        return Ok(format!("the first layer with a non-finite output is {layer}"));
    }
    if !is_finite(&output.loss) {
        return Ok("the outputs of all layers are finite, but the loss is not".into());
    }
    // The backward pass goes from the last layer to the first.
    let origin = parameters.names().iter().zip(&grads).rev().find(|(_, grad)| !is_finite(grad));
    Ok(match origin {
        Some((name, _)) => format!(
            "the loss is finite; the first non-finite gradient of the backward pass is that of {name}"
        ),
        None => "a second pass of the same batch is finite".into(),
    })
}

/// Returns the row numbers of a batch as text, at most eight of them.
pub fn rows(batch: &Batch) -> String {
    let shown: Vec<String> = batch.rows.iter().take(8).map(i64::to_string).collect();
    let more = if batch.len() > 8 { format!(", … ({} rows)", batch.len()) } else { String::new() };
    shown.join(", ") + &more
}
