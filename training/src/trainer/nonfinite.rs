//! Finds where a NaN or an infinity was born.

use clap::{ArgAction, Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use text_recognizer::Result;
use text_recognizer::data::Batch;
use text_recognizer::lit_models::LitModel;
use text_recognizer::nn::{ForwardContext, is_finite};

use crate::flags::default_flags;

/// The answer to a loss or a gradient that is NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum OnNonfinite {
    /// The run ends with an error that names where it was born.
    Stop,
    /// The step is left out.
    Skip,
    /// Weights and optimizer return to the last checkpoint, and the data goes on.
    Restore,
}

/// The handling of NaN and infinity.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NonfiniteConfig {
    /// Action on a loss or gradient that is NaN or infinite.
    #[arg(long = "on_nonfinite", value_enum, default_value_t = OnNonfinite::Stop)]
    pub on_nonfinite: OnNonfinite,
    /// Check every layer's output for NaN and infinity too, even where loss and gradients hide it (slow).
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

/// Passes `batch` through the model again, watching every layer, and says what is non-finite first. The pass is the
/// same as the one that failed: dropout is a pure function of the seed and the step that `context` was made of.
///
/// # Errors
/// When the pass itself fails.
pub fn diagnose(lit: &dyn LitModel, batch: &Batch, context: ForwardContext<'_>) -> Result<String> {
    if let Some((name, _)) = lit.parameters().iter().find(|(_, parameter)| !is_finite(parameter)) {
        return Ok(format!("the weights {name} hold it already"));
    }
    if !is_finite(&batch.x) {
        return Ok("it is in the batch's inputs".into());
    }
    if !is_finite(&batch.y) {
        return Ok("it is in the batch's targets".into());
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
        return Ok(format!("the first layer whose output is non-finite is {layer}"));
    }
    if !is_finite(&output.loss) {
        return Ok("every layer's output is finite, the loss of them is not".into());
    }
    // Gradients flow from the last layer to the first.
    let born = parameters.names().iter().zip(&grads).rev().find(|(_, grad)| !is_finite(grad));
    Ok(match born {
        Some((name, _)) => format!("the loss is finite; the first gradient that is not is that of {name}"),
        None => "passed through again, the batch is finite".into(),
    })
}

/// A list of row numbers, short enough for a message.
pub fn rows(batch: &Batch) -> String {
    let shown: Vec<String> = batch.rows.iter().take(8).map(i64::to_string).collect();
    let more = if batch.len() > 8 { format!(", … ({} rows)", batch.len()) } else { String::new() };
    shown.join(", ") + &more
}
