//! Gradients between the backward pass and the optimizer: accumulation, norm and clipping.

use clap::{ArgAction, Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use text_recognizer::{Error, Result, optim};

use crate::flags::default_flags;

/// The method of gradient clipping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum ClipAlgorithm {
    /// Clip the norm of all gradients together.
    Norm,
    /// Clip each value.
    Value,
}

/// The flags for accumulation and clipping of gradients.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GradientConfig {
    /// Clip gradients to at most this norm or absolute value; 0: off.
    #[arg(long = "gradient_clip_val", default_value_t = 0.0)]
    pub gradient_clip_val: f64,
    /// Clip the norm of all gradients together, or each value.
    #[arg(long = "gradient_clip_algorithm", value_enum, default_value_t = ClipAlgorithm::Norm)]
    pub gradient_clip_algorithm: ClipAlgorithm,
    /// Accumulate the gradients of this many batches per optimizer step.
    #[arg(long = "accumulate_grad_batches", default_value_t = 1)]
    pub accumulate_grad_batches: u64,
    /// Log the norm of all gradients, once per --log_every_n_steps steps.
    #[arg(long = "track_grad_norm", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub track_grad_norm: bool,
}

impl Default for GradientConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl GradientConfig {
    /// The flags that a resumed run may change.
    pub const FREE: &[&str] = &["track_grad_norm"];

    /// Checks the values.
    ///
    /// # Errors
    /// Fails if a value is impossible; the error names the first one.
    pub fn validate(&self) -> Result<()> {
        if self.accumulate_grad_batches == 0 {
            return Err(Error::invalid("accumulate_grad_batches", 0, "at least 1"));
        }
        if !(self.gradient_clip_val >= 0.0 && self.gradient_clip_val.is_finite()) {
            let expected = "a finite number, 0 or greater";
            return Err(Error::invalid("gradient_clip_val", self.gradient_clip_val, expected));
        }
        Ok(())
    }

    /// Clips `grads` in place, as the flags select.
    ///
    /// # Errors
    /// Fails if libtorch reports an error.
    pub fn clip(&self, grads: &mut [Tensor]) -> Result<()> {
        match self.gradient_clip_algorithm {
            _ if self.gradient_clip_val == 0.0 => Ok(()),
            ClipAlgorithm::Norm => optim::clip_grad_norm(grads, self.gradient_clip_val).map(drop),
            ClipAlgorithm::Value => optim::clip_grad_value(grads, self.gradient_clip_val),
        }
    }
}

/// The sum of the gradients since the last optimizer step.
#[derive(Debug, Default)]
pub struct Accumulated(Option<Vec<Tensor>>);

impl Accumulated {
    /// Adds the gradients of a batch.
    ///
    /// # Errors
    /// Fails if libtorch reports an error.
    pub fn add(&mut self, grads: Vec<Tensor>) -> Result<()> {
        match &mut self.0 {
            None => self.0 = Some(grads),
            Some(sums) => {
                for (sum, grad) in sums.iter_mut().zip(&grads) {
                    let _ = sum.f_add_(grad)?;
                }
            }
        }
        Ok(())
    }

    /// Returns whether nothing was added since the last optimizer step.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Drops the gradients.
    pub fn clear(&mut self) {
        self.0 = None;
    }

    /// Returns the sum divided by `batches` and clears it; `None` if nothing was added.
    ///
    /// # Errors
    /// Fails if libtorch reports an error.
    pub fn take_mean(&mut self, batches: u64) -> Result<Option<Vec<Tensor>>> {
        let Some(mut grads) = self.0.take() else { return Ok(None) };
        if batches > 1 {
            for grad in &mut grads {
                let _ = grad.f_div_scalar_(batches as f64)?;
            }
        }
        Ok(Some(grads))
    }
}
