//! Brings checkpoints to the disk while training goes on.

use std::fs;
use std::io::ErrorKind;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;
use tch::Tensor;
use text_recognizer::checkpoint;

use super::write_with_state;

/// Weights on their way to files. The tensors are copies: training changes its own meanwhile.
#[derive(Debug)]
pub struct Weights {
    /// The files.
    pub paths: Vec<PathBuf>,
    /// Named tensors.
    pub tensors: Vec<(String, Tensor)>,
    /// What their metadata says.
    pub metadata: Value,
}

/// Where the run can continue, as [`write_with_state`] takes it.
#[derive(Debug)]
pub struct Last {
    /// The checkpoint's file.
    pub path: PathBuf,
    /// Copies of the weights.
    pub weights: Vec<(String, Tensor)>,
    /// What its metadata says.
    pub metadata: Value,
    /// Copies of the optimiser's tensors and of averages.
    pub state_tensors: Vec<(String, Tensor)>,
    /// Everything else.
    pub state: Value,
    /// A number that no other checkpoint of the run has.
    pub serial: u64,
}

/// What the run's files are to be at one moment.
#[derive(Debug, Default)]
pub struct Save {
    /// The folder of all of them, which comes to be if it is not there.
    pub folder: PathBuf,
    /// Weights that are among the best.
    pub kept: Vec<Weights>,
    /// Files that no longer are.
    pub unwanted: Vec<PathBuf>,
    /// Written after the others: who continues from here finds them in place.
    pub last: Option<Last>,
}

impl Save {
    fn write(self) -> Result<()> {
        let started = Instant::now();
        fs::create_dir_all(&self.folder).with_context(|| format!("creating {}", self.folder.display()))?;
        for kept in &self.kept {
            for path in &kept.paths {
                checkpoint::write(path, &kept.tensors, &kept.metadata)?;
            }
        }
        for path in &self.unwanted {
            match fs::remove_file(path) {
                // Never written, or removed by a process that was killed before it could say so.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                done => done.with_context(|| format!("removing {}", path.display()))?,
            }
        }
        if let Some(Last { path, weights, metadata, state_tensors, state, serial }) = self.last {
            write_with_state(&path, &weights, metadata, &state_tensors, &state, serial)?;
            log::debug!("saved {} in {:.1?}", path.display(), started.elapsed());
        }
        Ok(())
    }
}

/// Leaves the cores to the threads that train: what is written may take longer, a step may not.
fn step_back() {
    #[cfg(target_os = "linux")]
    // SAFETY: sets a number of the calling thread, which is all that Linux takes 0 for.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
    }
}

/// Writes one [`Save`] at a time, in a thread of its own: waiting for a disk takes several steps' time.
#[derive(Debug, Default)]
pub struct Saver {
    running: Option<JoinHandle<Result<()>>>,
}

impl Saver {
    /// Begins to write, once what was begun before is on the disk.
    ///
    /// # Errors
    /// As [`Saver::wait`].
    pub fn start(&mut self, save: Save) -> Result<()> {
        self.wait()?;
        let thread = Builder::new().name("save".into()).spawn(move || {
            step_back();
            save.write()
        });
        self.running = Some(thread.context("starting the thread that saves")?);
        Ok(())
    }

    /// Waits until what was begun is on the disk.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn wait(&mut self) -> Result<()> {
        match self.running.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => resume_unwind(panic),
        }
    }
}
