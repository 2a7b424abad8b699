//! Checkpoints to resume a run from.

mod resume_state;
mod saver;

pub use resume_state::{read_with_state, write_with_state};
pub use saver::{Last, Save, Saver, Weights};
