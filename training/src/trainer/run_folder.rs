//! One folder a run: `LOG_DIR/NAME/version_N`, never written to by two processes.

use std::cell::Cell;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::checkpoint::{TEMPORARY, write_atomic};

/// A run's folder, locked while this lives.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held for the lock, which the operating system drops with the process, however it ends.
    _lock: File,
    /// Made for a run that has not begun.
    provisional: Cell<bool>,
}

impl RunFolder {
    /// Creates the next free `LOG_DIR/NAME/version_N`. It goes again with this value, unless [`RunFolder::keep`] is called: a
    /// run that is refused leaves nothing.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn create(log_dir: &Path, name: &str) -> Result<Self> {
        let parent = log_dir.join(name);
        let hint = || {
            format!("creating a folder for the run in {} (--log_dir chooses another place)", parent.display())
        };
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
                    let folder = Self::lock(path)?;
                    folder.provisional.set(true);
                    return Ok(folder);
                }
                // Another run took it a moment ago.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => version += 1,
                Err(error) => return Err(error).with_context(hint),
            }
        }
    }

    /// Opens the folder of an earlier run, to continue it, and clears what a killed process left half-written.
    ///
    /// # Errors
    /// When there is no such folder, or another process is writing to it.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            bail!("{} is not a run's folder", path.display());
        }
        let folder = Self::lock(path.to_owned())?;
        for place in [folder.path.clone(), folder.checkpoints()] {
            for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                    fs::remove_file(entry.path())
                        .with_context(|| format!("removing {}", entry.path().display()))?;
                }
            }
        }
        Ok(folder)
    }

    fn lock(path: PathBuf) -> Result<Self> {
        let lock_path = path.join(".lock");
        let options = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = options.with_context(|| format!("creating {}", lock_path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock, provisional: Cell::new(false) }),
            Err(TryLockError::WouldBlock) => {
                bail!("another process is writing to {}: wait until it ends, or stop it", path.display())
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("locking {}", lock_path.display()))
            }
        }
    }

    /// The run has begun: its folder stays, however it ends.
    pub fn keep(&self) {
        self.provisional.set(false);
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the checkpoints lie.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Writes a small file whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, file_name: &str, content: &str) -> Result<()> {
        write_atomic(&self.path.join(file_name), content.as_bytes())
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if self.provisional.get() {
            // Nobody is there to be told; an empty folder more is no harm.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_up_and_gaps_stay() {
        let logs = tempfile::tempdir().unwrap();
        fs::create_dir_all(logs.path().join("a/version_7")).unwrap();
        fs::create_dir_all(logs.path().join("a/version_x")).unwrap();
        for expected in ["version_8", "version_9"] {
            let folder = RunFolder::create(logs.path(), "a").unwrap();
            folder.keep();
            assert_eq!(folder.path().file_name().unwrap(), expected);
        }
        assert!(RunFolder::create(logs.path(), "b").unwrap().path().ends_with("b/version_0"));
        assert!(!logs.path().join("b/version_0").exists(), "a run that did not begin");
    }

    #[test]
    fn one_writer_at_a_time() {
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
