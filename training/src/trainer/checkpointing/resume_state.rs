//! A checkpoint that a run can continue from: the weights, and beside them a second file with everything else.
//!
//! The weights' file names the state's file in its metadata, so the weights load elsewhere as they are. The state is written
//! first, under a name that no other step uses; the rename of the weights is the time at which the checkpoint exists.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use tch::Tensor;
use text_recognizer::checkpoint::{self, Contents};

/// The beginning of the names of state files.
const STATE: &str = "last.state-";

/// Writes `weights` to `path`, and `state` with `state_tensors` to a file beside it whose name ends in `serial`, a number
/// that no other checkpoint of the run has.
///
/// # Errors
/// Fails if the folder cannot be written to; the checkpoint before is whole then.
pub fn write_with_state(
    path: &Path,
    weights: &[(String, Tensor)],
    mut metadata: Value,
    state_tensors: &[(String, Tensor)],
    state: &Value,
    serial: u64,
) -> Result<()> {
    let folder = path.parent().context("a checkpoint lies in a folder")?;
    let name = format!("{STATE}{serial}.safetensors");
    checkpoint::write(&path.with_file_name(&name), state_tensors, state)?;
    metadata["state"] = name.clone().into();
    checkpoint::write(path, weights, &metadata)?;
    // Only now no reader needs the state before.
    for entry in fs::read_dir(folder)?.flatten() {
        let other = entry.file_name();
        if other.to_string_lossy().starts_with(STATE) && other.to_string_lossy() != name {
            fs::remove_file(entry.path()).with_context(|| format!("removing {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Reads a checkpoint of [`write_with_state`]: the weights, and the state.
///
/// # Errors
/// Fails if a file is missing or damaged, or the checkpoint holds weights alone.
pub fn read_with_state(path: &Path) -> Result<(Contents, Contents)> {
    let contents = checkpoint::read(path)?;
    let name = contents.metadata["state"].as_str().filter(|name| !name.contains(['/', '\\'])).with_context(|| {
        format!(
            "cannot resume from {}: it holds weights alone, expected a run's last checkpoint; try --load_checkpoint, which \
             starts a new run from weights",
            path.display()
        )
    })?;
    let state = checkpoint::read(&path.with_file_name(name))?;
    Ok((contents, state))
}
