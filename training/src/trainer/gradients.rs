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
    /// Accumulate the gradients of this many batches per optimizer step; a step is the mean over their rows.
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

    /// Returns the number of optimizer steps of an epoch of `batches` batches.
    pub fn steps(&self, batches: usize) -> u64 {
        (batches as u64).div_ceil(self.accumulate_grad_batches.max(1))
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

/// The gradients since the last optimizer step.
#[derive(Debug, Default)]
pub struct Accumulated {
    /// The sum of the gradients, each multiplied by its rows and divided by `rows_of_first`.
    sums: Option<Vec<Tensor>>,
    /// The rows of the first batch. Batches of equal size then need no multiplication.
    rows_of_first: f64,
    /// The rows of all batches, divided by `rows_of_first`.
    weight: f64,
    /// Whether a batch of this step was skipped.
    skipped: bool,
}

impl Accumulated {
    /// Adds the gradients of a mean over `rows` rows.
    ///
    /// # Errors
    /// Fails if libtorch reports an error.
    pub fn add(&mut self, mut grads: Vec<Tensor>, rows: i64) -> Result<()> {
        if rows == 0 {
            return Ok(());
        }
        let rows = rows as f64;
        let Some(sums) = &mut self.sums else {
            (self.sums, self.rows_of_first, self.weight) = (Some(grads), rows, 1.0);
            return Ok(());
        };
        let share = rows / self.rows_of_first;
        for (sum, grad) in sums.iter_mut().zip(&mut grads) {
            if share != 1.0 {
                let _ = grad.f_mul_scalar_(share)?;
            }
            let _ = sum.f_add_(grad)?;
        }
        self.weight += share;
        Ok(())
    }

    /// Drops the gradients of this step, also of its next batches: a step uses all of its batches or none.
    pub fn skip(&mut self) {
        *self = Self { skipped: true, ..Self::default() };
    }

    /// Returns the mean over all rows since the last call; `None` if nothing was added or a batch was skipped.
    ///
    /// # Errors
    /// Fails if libtorch reports an error.
    pub fn take_mean(&mut self) -> Result<Option<Vec<Tensor>>> {
        let Self { sums, weight, skipped, .. } = std::mem::take(self);
        let Some(mut grads) = sums.filter(|_| !skipped) else { return Ok(None) };
        if weight != 1.0 {
            for grad in &mut grads {
                let _ = grad.f_div_scalar_(weight)?;
            }
        }
        Ok(Some(grads))
    }
}
