//! Checkpoints to resume a run from.

mod resume_state;
mod saver;

pub use resume_state::{ResumePoint, write_with_state};
pub use saver::{Last, Save, Saver, Weights};
