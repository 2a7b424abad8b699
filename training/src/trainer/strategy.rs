//! Processes that train one model together.

use std::fmt::Debug;

use anyhow::Result;
use tch::Tensor;

/// The requests of a rank that all ranks must answer in the same step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// The signal that asks for an end.
    pub stop: Option<i32>,
    /// Whether the time budget is spent.
    pub out_of_time: bool,
    /// Whether a checkpoint is asked for.
    pub save: bool,
    /// Whether a loss or gradient is NaN or infinite.
    pub nonfinite: bool,
}

/// The group of processes ("ranks") that train together. Every method is called by all ranks in the same order.
pub trait Strategy: Debug {
    /// Returns the number of this process, from 0.
    fn rank(&self) -> usize;

    /// Returns the number of processes.
    fn world_size(&self) -> usize;

    /// Replaces each tensor by its mean over all ranks.
    ///
    /// # Errors
    /// Fails if a rank is gone.
    fn all_reduce_mean(&self, tensors: &mut [Tensor]) -> Result<()>;

    /// Replaces each number by its sum over all ranks.
    ///
    /// # Errors
    /// Fails if a rank is gone.
    fn all_reduce_sum(&self, values: &mut [f64]) -> Result<()>;

    /// Returns the flags that any rank has set.
    ///
    /// # Errors
    /// Fails if a rank is gone.
    fn agree(&self, flags: Flags) -> Result<Flags>;

    /// Returns whether this rank writes files and reports.
    fn is_main(&self) -> bool {
        self.rank() == 0
    }
}

/// One process: there is nobody to talk to.
#[derive(Debug, Clone, Copy, Default)]
pub struct SingleProcess;

impl Strategy for SingleProcess {
    fn rank(&self) -> usize {
        0
    }

    fn world_size(&self) -> usize {
        1
    }

    fn all_reduce_mean(&self, _tensors: &mut [Tensor]) -> Result<()> {
        Ok(())
    }

    fn all_reduce_sum(&self, _values: &mut [f64]) -> Result<()> {
        Ok(())
    }

    fn agree(&self, flags: Flags) -> Result<Flags> {
        Ok(flags)
    }
}
