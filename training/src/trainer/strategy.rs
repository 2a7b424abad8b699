//! Processes that train one model together.

use std::fmt::Debug;

use anyhow::Result;
use tch::Tensor;

/// The requests of one rank. All ranks must follow them in the same step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// The signal that stops the run.
    pub stop: Option<i32>,
    /// Whether the time budget is spent.
    pub out_of_time: bool,
    /// Whether a checkpoint must be saved.
    pub save: bool,
    /// Whether a loss or gradient is NaN or infinite.
    pub nonfinite: bool,
}

/// The group of processes ("ranks") that train together. All ranks must call the methods in the same order.
pub trait Strategy: Debug {
    /// Returns the index of this process, from 0.
    fn rank(&self) -> usize;

    /// Returns the number of processes, at least 1.
    fn world_size(&self) -> usize;

    /// Replaces each tensor by its mean over all ranks.
    ///
    /// # Errors
    /// Fails if the connection to another rank is lost.
    fn all_reduce_mean(&self, tensors: &mut [Tensor]) -> Result<()>;

    /// Replaces each number by its sum over all ranks.
    ///
    /// # Errors
    /// Fails if the connection to another rank is lost.
    fn all_reduce_sum(&self, values: &mut [f64]) -> Result<()>;

    /// Returns the flags that at least one rank has set.
    ///
    /// # Errors
    /// Fails if the connection to another rank is lost.
    fn agree(&self, flags: Flags) -> Result<Flags>;

    /// Returns whether this rank writes files and reports.
    fn is_main(&self) -> bool {
        self.rank() == 0
    }
}

/// The strategy of a single process: its reductions change nothing.
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
