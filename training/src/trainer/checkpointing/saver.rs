//! Writing of checkpoints to the disk while the training continues.

use std::fs;
use std::io::ErrorKind;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;
use tch::Tensor;
use text_recognizer::checkpoint;
use text_recognizer::util::files::create_folder_synced;

use super::write_with_state;

/// Weights to write to files. The tensors are copies, because training changes the originals meanwhile.
#[derive(Debug)]
pub struct Weights {
    /// The paths of the files; each gets all weights.
    pub paths: Vec<PathBuf>,
    /// Named tensors.
    pub tensors: Vec<(String, Tensor)>,
    /// The metadata of the files.
    pub metadata: Value,
}

/// The last checkpoint: the arguments of [`write_with_state`].
#[derive(Debug)]
pub struct Last {
    /// The path of the file of weights.
    pub path: PathBuf,
    /// Copies of the weights.
    pub weights: Vec<(String, Tensor)>,
    /// The metadata of the file of weights.
    pub metadata: Value,
    /// Copies of the optimizer's tensors and of the averaged weights.
    pub state_tensors: Vec<(String, Tensor)>,
    /// All other state.
    pub state: Value,
    /// A number that no other checkpoint of the run has.
    pub serial: u64,
}

/// The files to write and to remove in one save.
#[derive(Debug, Default)]
pub struct Save {
    /// The folder of all files; it is created if it does not exist.
    pub folder: PathBuf,
    /// Weights that are among the best.
    pub kept: Vec<Weights>,
    /// The last checkpoint. It is written after the files among the best, so that they exist if a run resumes from it.
    pub last: Option<Last>,
    /// Files that are no longer among the best. They are removed after the last checkpoint is written, because a run that
    /// resumes from the one before needs them.
    pub unwanted: Vec<PathBuf>,
}

impl Save {
    fn write(self) -> Result<()> {
        let started = Instant::now();
        // Not its parents: the run's folder exists unless someone deleted it.
        if self.folder.parent().is_some_and(Path::is_dir) {
            create_folder_synced(&self.folder)?;
        }
        for kept in &self.kept {
            for path in &kept.paths {
                checkpoint::write(path, &kept.tensors, &kept.metadata)?;
            }
        }
        if let Some(Last { path, weights, metadata, state_tensors, state, serial }) = self.last {
            write_with_state(&path, &weights, metadata, &state_tensors, &state, serial)?;
            log::debug!("saved {} in {:.1?}", path.display(), started.elapsed());
        }
        for path in &self.unwanted {
            match fs::remove_file(path) {
                // The file was never written.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                done => done.with_context(|| format!("cannot remove {}", path.display()))?,
            }
        }
        Ok(())
    }
}

/// Lowers the priority of this thread, so that it does not slow down the threads that train.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    // SAFETY: the call takes no pointers. On Linux, a `who` of 0 changes only the calling thread.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
    }
}

/// A writer of one [`Save`] at a time, in a thread of its own, because a write to the disk takes as long as several
/// steps.
#[derive(Debug, Default)]
pub struct Saver {
    running: Option<JoinHandle<Result<()>>>,
}

impl Saver {
    /// Starts a save after the previous save has ended.
    ///
    /// # Errors
    /// Fails if the previous save failed, or the thread cannot be started.
    pub fn start(&mut self, save: Save) -> Result<()> {
        self.wait()?;
        let thread = Builder::new().name("save".into()).spawn(move || {
            lower_priority();
            save.write()
        });
        self.running = Some(thread.context("cannot start the thread that saves checkpoints")?);
        Ok(())
    }

    /// Waits until the current save is on the disk.
    ///
    /// # Errors
    /// Fails if a file could not be written or removed.
    pub fn wait(&mut self) -> Result<()> {
        match self.running.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => resume_unwind(panic),
        }
    }
}
