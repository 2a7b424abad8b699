//! A checkpoint to resume from: a file of weights, and beside it a second file with all other state.
//!
//! The metadata of the first file contains the name of the second file. So other programs can load the weights without
//! the state. The state is written first, under a name that no other step uses. The checkpoint exists once the file of
//! weights is renamed to its final name.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use tch::Tensor;
use text_recognizer::checkpoint::{self, Contents};

use crate::trainer::run_folder::STATE;

/// Writes `weights` to `path`, and `state` with `state_tensors` to a file beside it whose name ends in `serial`, a
/// number that no other checkpoint of the run has.
///
/// # Errors
/// Fails if the folder cannot be written to. The previous checkpoint is then still complete.
pub fn write_with_state(
    path: &Path,
    weights: &[(String, Tensor)],
    mut metadata: Value,
    state_tensors: &[(String, Tensor)],
    state: &Value,
    serial: u64,
) -> Result<()> {
    let folder =
        path.parent().with_context(|| format!("cannot write {}: the path has no folder", path.display()))?;
    let name = format!("{STATE}{serial}.safetensors");
    // The previous checkpoint may be of the same batch.
    let is_new = !path.with_file_name(&name).exists();
    checkpoint::write(&path.with_file_name(&name), state_tensors, state)?;
    metadata["state"] = name.clone().into();
    let written = checkpoint::write(path, weights, &metadata);
    if written.is_err() && is_new {
        // The state of a checkpoint that does not exist is of no use.
        let _ = fs::remove_file(path.with_file_name(&name));
    }
    written?;
    // Remove the previous state only now: until the rename above, the previous checkpoint needs it.
    for entry in fs::read_dir(folder)?.flatten() {
        let other = entry.file_name();
        if other.to_string_lossy().starts_with(STATE) && other.to_string_lossy() != name {
            fs::remove_file(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// A checkpoint of [`write_with_state`]: the weights and all other state.
#[derive(Debug)]
pub struct ResumePoint {
    /// The weights, with the metadata of the checkpoint.
    pub weights: Contents,
    /// All other state.
    pub state: Contents,
}

impl ResumePoint {
    /// Reads the checkpoint `path`.
    ///
    /// # Errors
    /// Fails if a file is missing or damaged, or the checkpoint contains only weights.
    pub fn read(path: &Path) -> Result<Self> {
        let weights = checkpoint::read(path)?;
        let name = weights.metadata["state"].as_str().filter(|name| !name.contains(['/', '\\']));
        let name = name.with_context(|| {
            format!(
                "cannot resume from {}: it contains only weights, expected the last checkpoint of a run; try \
                 --load_checkpoint, which starts a new run from weights",
                path.display()
            )
        })?;
        let state = checkpoint::read(&path.with_file_name(name)).with_context(|| {
            format!(
                "cannot resume from {0}: its state cannot be read; try --load_checkpoint {0}, which starts a new run from its weights",
                path.display()
            )
        })?;
        Ok(Self { weights, state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_with_state_that_fails_leaves_no_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        let tensors = [("a".to_owned(), Tensor::from_slice(&[1f32]))];
        let write = |serial| write_with_state(&path, &tensors, Value::Null, &tensors, &Value::Null, serial);
        write(1).unwrap();
        fs::remove_file(&path).unwrap();
        // A file cannot replace a folder.
        fs::create_dir(&path).unwrap();
        assert!(write(2).is_err() && write(1).is_err());
        assert!(
            folder.path().join("last.state-1.safetensors").exists(),
            "the state of the previous checkpoint"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
