//! One folder per run, `LOG_DIR/NAME/version_N`. A lock prevents two processes from writing to it.

use std::cell::RefCell;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

use text_recognizer::util::files::{TEMPORARY, write_atomic};

/// The file name of the best checkpoint.
pub const BEST: &str = "best.safetensors";
/// The file name of the last checkpoint.
pub const LAST: &str = "last.safetensors";

/// The folder of a run, locked until this value is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The locked file. The operating system releases the lock at the end of the process, also after a crash.
    _lock: File,
    /// The folders that were created for a run that has not started, innermost first.
    provisional: RefCell<Vec<PathBuf>>,
}

impl RunFolder {
    /// Creates the next free `LOG_DIR/NAME/version_N`. Dropping the value removes the folder, unless
    /// [`RunFolder::keep`] was called. So a run that fails before its start leaves no folder.
    ///
    /// # Errors
    /// Fails if the folder cannot be created or locked.
    pub fn create(log_dir: &Path, name: &str) -> Result<Self> {
        let parent = log_dir.join(name);
        let hint =
            || format!("cannot create a folder for the run in {} (try another --log_dir)", parent.display());
        let mut created = vec![PathBuf::new()];
        created.extend(parent.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned));
        fs::create_dir_all(&parent).with_context(hint)?;
        let taken = fs::read_dir(&parent)
            .with_context(hint)?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("version_")?.parse::<u64>().ok());
        let mut version = taken.max().map_or(0, |last| last + 1);
        loop {
            let path = parent.join(format!("version_{version}"));
            match fs::create_dir(&path) {
                Ok(()) => {
                    created[0].clone_from(&path);
                    let folder = Self::lock(path)?;
                    folder.provisional.replace(created);
                    return Ok(folder);
                }
                // Another run created it in the meantime.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => version += 1,
                // Another run failed before its start and removed the parent.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    fs::create_dir_all(&parent).with_context(hint)?;
                }
                Err(error) => return Err(error).with_context(hint),
            }
        }
    }

    /// Opens the folder of an earlier run to resume it, and removes incomplete files of a killed process.
    ///
    /// # Errors
    /// Fails if the folder does not exist, or another process has locked it.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            bail!("cannot open {}: it is not a folder, expected the folder of a run", path.display());
        }
        let folder = Self::lock(path.to_owned())?;
        for place in [folder.path.clone(), folder.checkpoints()] {
            for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                    fs::remove_file(entry.path())
                        .with_context(|| format!("cannot remove {}", entry.path().display()))?;
                }
            }
        }
        Ok(folder)
    }

    /// Locks the folder `path`.
    fn lock(path: PathBuf) -> Result<Self> {
        let lock_path = path.join(".lock");
        let options = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = options.with_context(|| format!("cannot create {}", lock_path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock, provisional: RefCell::default() }),
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "cannot lock {}: another process is writing to it; try again after that process has ended",
                    path.display()
                )
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", lock_path.display()))
            }
        }
    }

    /// Keeps the folder when this value is dropped. The trainer calls this at the start of the run.
    pub fn keep(&self) {
        self.provisional.borrow_mut().clear();
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder of the checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        checkpoints_in(&self.path)
    }

    /// Returns the file of the best checkpoint.
    pub fn best(&self) -> PathBuf {
        self.checkpoints().join(BEST)
    }

    /// Returns the file of the last checkpoint.
    pub fn last(&self) -> PathBuf {
        last_in(&self.path)
    }

    /// Returns the file of the metrics.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Returns the path of a plot or a table. `name` may have no extension.
    pub fn artifact(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes the run's configuration, a JSON file that `--config` reads.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write_config(&self, config: &impl Serialize) -> Result<()> {
        write_json(&config_in(&self.path), config)
    }

    /// Writes the run's results to `results.json`.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write_results(&self, results: &Value) -> Result<()> {
        write_json(&self.path.join("results.json"), results)
    }
}

/// Returns the configuration's file in a run's folder.
pub fn config_in(run: &Path) -> PathBuf {
    run.join("config.json")
}

/// Returns the last checkpoint's file in a run's folder.
pub fn last_in(run: &Path) -> PathBuf {
    checkpoints_in(run).join(LAST)
}

fn checkpoints_in(run: &Path) -> PathBuf {
    run.join("checkpoints")
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    Ok(write_atomic(path, text.as_bytes())?)
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        let created = self.provisional.take();
        // Ignore errors: a remaining empty folder does no harm.
        if let [run, parents @ ..] = &created[..] {
            let _ = fs::remove_dir_all(run);
            // Stop at the first parent that is not empty.
            let _ = parents.iter().try_for_each(fs::remove_dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_folder_after_version_7_is_version_8() {
        let logs = tempfile::tempdir().unwrap();
        fs::create_dir_all(logs.path().join("a/version_7")).unwrap();
        fs::create_dir_all(logs.path().join("a/version_x")).unwrap();
        for expected in ["version_8", "version_9"] {
            let folder = RunFolder::create(logs.path(), "a").unwrap();
            folder.keep();
            assert_eq!(folder.path().file_name().unwrap(), expected);
        }
        assert!(RunFolder::create(logs.path(), "b").unwrap().path().ends_with("b/version_0"));
        assert!(!logs.path().join("b").exists(), "a run that did not start left a folder");
    }

    #[test]
    fn run_folder_of_another_writer_cannot_be_opened() {
        let logs = tempfile::tempdir().unwrap();
        let first = RunFolder::create(logs.path(), "a").unwrap();
        first.keep();
        let path = first.path().to_owned();
        assert!(RunFolder::open(&path).unwrap_err().to_string().contains("another process"));
        fs::write(path.join(".tmp-abc"), "half").unwrap();
        drop(first);
        RunFolder::open(&path).unwrap();
        assert!(!path.join(".tmp-abc").exists());
        assert!(RunFolder::open(&path.join("nothing")).is_err());
    }
}
