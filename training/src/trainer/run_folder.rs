//! One folder per run, `LOG_DIR/NAME/version_N`. A lock prevents two processes from writing to it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

use text_recognizer::util::files::{TEMPORARY, create_folder_synced, write_atomic};

/// The file name of the best checkpoint.
pub const BEST: &str = "best.safetensors";
/// The file name of the checkpoint of a model that was trained on all rows.
const REFIT: &str = "refit.safetensors";
/// The file name of the last checkpoint.
pub const LAST: &str = "last.safetensors";
/// The prefix of the file names of the state beside the last checkpoint.
pub const STATE: &str = "last.state-";
/// The file name of the results.
const RESULTS: &str = "results.json";

/// The file that a process locks.
const LOCK: &str = ".lock";

/// The folder of a run, locked until this value is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The folder itself, by which one that replaces it is noticed.
    handle: File,
    /// The locked file. The operating system releases the lock at the end of the process, also after a crash.
    lock: RefCell<File>,
    provisional: Provisional,
}

/// The folders that were created for a run that has not started, innermost first. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Provisional(Arc<Mutex<Vec<PathBuf>>>);

impl Provisional {
    fn take(&self) -> Vec<PathBuf> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Removes the folders.
    pub(super) fn remove(&self) {
        let created = self.take();
        // Ignore errors: a remaining empty folder does no harm.
        if let [run, parents @ ..] = &created[..] {
            let _ = fs::remove_dir_all(run);
            // Stop at the first parent that is not empty.
            let _ = parents.iter().try_for_each(fs::remove_dir);
        }
    }
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
        let mut parents = create_folder_synced(&parent).with_context(hint)?;
        let taken = fs::read_dir(&parent)
            .with_context(hint)?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("version_")?.parse::<u64>().ok());
        let mut version = next_version(&taken.collect());
        loop {
            let path = parent.join(format!("version_{version}"));
            // Also the parents again, if another run failed before its start and removed them.
            let created = create_folder_synced(&path).with_context(hint)?;
            if created.last() != Some(&path) {
                // Another run created it in the meantime.
                version = version.checked_add(1).with_context(hint)?;
                continue;
            }
            parents.extend(created);
            parents.reverse();
            let provisional = Provisional(Arc::new(Mutex::new(parents)));
            let lock = lock(&path).inspect_err(|_| provisional.remove())?;
            let handle = open_folder(&path)?;
            return Ok(Self { path, handle, lock: RefCell::new(lock), provisional });
        }
    }

    /// Opens the folder of an earlier run to resume it, and removes incomplete files of a killed process.
    ///
    /// # Errors
    /// Fails if the folder does not exist, if another process has locked it, or if a file in it is a link to another place.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            bail!("cannot open {}: it is not a folder, expected the folder of a run", path.display());
        }
        check_links(path)?;
        let lock = RefCell::new(lock(path)?);
        let handle = open_folder(path)?;
        let folder = Self { path: path.to_owned(), handle, lock, provisional: Provisional::default() };
        for place in [folder.path.clone(), folder.checkpoints()] {
            for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
                let is_file = entry.file_type().is_ok_and(|kind| !kind.is_dir());
                if is_file && entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                    fs::remove_file(entry.path())
                        .with_context(|| format!("cannot remove {}", entry.path().display()))?;
                }
            }
        }
        Ok(folder)
    }

    /// Checks that the folder is still the one that this process has locked. Locks it again if only the lock's file was
    /// removed.
    ///
    /// # Errors
    /// Fails if the folder was deleted or replaced, or another process has locked it.
    pub fn check(&self) -> Result<()> {
        let place = self.path.join(LOCK);
        if !is_same(&self.handle, &self.path) {
            let what = if self.path.is_dir() { "replaced by another" } else { "deleted" };
            bail!("cannot save to {}: the folder was {what} during the run", self.path.display());
        }
        if is_same(&self.lock.borrow(), &place) {
            return Ok(());
        }
        let lost = || format!("the file {} was removed during the run", place.display());
        self.lock.replace(lock(&self.path).with_context(lost)?);
        log::warn!("{}; created it again", lost());
        Ok(())
    }

    /// Keeps the folder when this value is dropped. The trainer calls this at the start of the run.
    pub fn keep(&self) {
        self.provisional.take();
    }

    /// Returns the folders that are removed if the run does not start.
    pub(super) fn provisional(&self) -> Provisional {
        self.provisional.clone()
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

    /// Returns the file of the model that was trained on all rows, for `--refit_on_all`.
    pub fn refit(&self) -> PathBuf {
        self.checkpoints().join(REFIT)
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
        write_json(&self.path.join(RESULTS), results)
    }
}

/// Returns the configuration's file in a run's folder.
pub fn config_in(run: &Path) -> PathBuf {
    run.join("config.json")
}

/// Returns the checkpoint that forecasts of a finished run are made with: of the model that was trained on all rows, if there is one,
/// else the best.
pub fn final_in(run: &Path) -> PathBuf {
    let refit = checkpoints_in(run).join(REFIT);
    if refit.exists() { refit } else { checkpoints_in(run).join(BEST) }
}

/// Returns the last checkpoint's file in a run's folder.
pub fn last_in(run: &Path) -> PathBuf {
    checkpoints_in(run).join(LAST)
}

/// Returns a file in a run's folder that a run writes only after it has trained: a checkpoint or the results. `None` if there is
/// none.
pub fn result_in(run: &Path) -> Option<PathBuf> {
    let checkpoints =
        fs::read_dir(checkpoints_in(run)).into_iter().flatten().flatten().map(|entry| entry.path());
    let checkpoints = checkpoints.filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.ends_with(".safetensors") && !name.starts_with(TEMPORARY) && !name.starts_with(STATE)
    });
    checkpoints.chain([run.join(RESULTS)]).find(|path| path.exists())
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
        self.provisional.remove();
    }
}

/// Returns the number after the largest of `taken`, or the smallest free one if there is no larger number.
fn next_version(taken: &BTreeSet<u64>) -> u64 {
    let next = taken.last().map_or(Some(0), |last| last.checked_add(1));
    next.or_else(|| (0..).find(|version| !taken.contains(version))).unwrap_or(u64::MAX)
}

/// Locks the folder `path` with a file in it.
fn lock(path: &Path) -> Result<File> {
    let place = path.join(LOCK);
    let lock = open_without_link(File::options().create(true).truncate(false).write(true), &place)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "cannot lock {}: another process is writing to it; try again after that process has ended",
                path.display()
            )
        }
        // Network file systems, some of which have no locks.
        Err(TryLockError::Error(error)) if has_no_locks(&error) => {
            log::warn!(
                "cannot lock {}: {error}; make sure that no other process writes to this folder",
                path.display()
            );
            Ok(lock)
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", place.display()))
        }
    }
}

#[cfg(unix)]
fn has_no_locks(error: &std::io::Error) -> bool {
    let code = error.raw_os_error();
    [libc::ENOLCK, libc::ENOSYS, libc::EOPNOTSUPP, libc::ENOTSUP].into_iter().any(|none| code == Some(none))
}

#[cfg(not(unix))]
fn has_no_locks(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::Unsupported
}

/// Opens a file of a run's folder; fails if it is a symbolic link or anything else but a file. Does not wait for the other end of a
/// pipe.
pub(super) fn open_without_link(options: &mut OpenOptions, path: &Path) -> Result<File> {
    let failed = || format!("cannot open {}", path.display());
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path).with_context(failed)?;
    if !file.metadata().with_context(failed)?.is_file() {
        bail!("{}: it is not a regular file", failed());
    }
    Ok(file)
}

#[cfg(unix)]
fn open_folder(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot open {}", path.display()))
}

/// Returns whether `path` is the file that is open as `file`.
#[cfg(unix)]
pub(super) fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().ok().map(id).is_some_and(|open| path.symlink_metadata().ok().map(id) == Some(open))
}

#[cfg(not(unix))]
fn open_folder(path: &Path) -> Result<File> {
    // A folder cannot be opened as a file.
    File::open(path.join(LOCK)).with_context(|| format!("cannot open {}", path.display()))
}

#[cfg(not(unix))]
pub(super) fn is_same(_file: &File, path: &Path) -> bool {
    path.exists()
}

/// Checks that no file or folder of the run is a symbolic link to a place outside of it: a run from someone else must not
/// make this process read or write there.
///
/// # Errors
/// Fails if there is such a link, or no such folder.
pub fn check_links(run: &Path) -> Result<()> {
    let failed = || format!("cannot open {}", run.display());
    let inside = run.canonicalize().with_context(failed)?;
    for folder in [run.to_owned(), checkpoints_in(run)] {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_symlink() && !path.canonicalize().is_ok_and(|target| target.starts_with(&inside)) {
                bail!(
                    "{}: {} is a symbolic link to a place outside of the folder; try again without the link",
                    failed(),
                    path.display()
                );
            }
        }
    }
    Ok(())
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
    fn run_folder_after_the_largest_version_is_the_smallest_free_one() {
        let logs = tempfile::tempdir().unwrap();
        for taken in ["0", "18446744073709551615", "18446744073709551616"] {
            fs::create_dir_all(logs.path().join(format!("a/version_{taken}"))).unwrap();
        }
        assert!(RunFolder::create(logs.path(), "a").unwrap().path().ends_with("a/version_1"));
    }

    #[test]
    fn check_of_a_deleted_folder_fails_and_of_a_removed_lock_locks_again() {
        let logs = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(logs.path(), "a").unwrap();
        folder.check().unwrap();
        fs::remove_file(folder.path().join(LOCK)).unwrap();
        folder.check().unwrap();
        assert!(RunFolder::open(folder.path()).unwrap_err().to_string().contains("another process"));
        fs::remove_file(folder.path().join(LOCK)).unwrap();
        let _other = RunFolder::open(folder.path()).unwrap();
        assert!(format!("{:#}", folder.check().unwrap_err()).contains("another process"));
        fs::rename(folder.path(), logs.path().join("moved")).unwrap();
        assert!(folder.check().unwrap_err().to_string().contains("was deleted during the run"));
        fs::create_dir_all(folder.path()).unwrap();
        assert!(folder.check().unwrap_err().to_string().contains("was replaced by another during the run"));
    }

    #[test]
    #[cfg(unix)]
    fn run_folder_with_a_link_to_another_place_cannot_be_opened() {
        use std::os::unix::fs::symlink;
        let logs = tempfile::tempdir().unwrap();
        let (outside, run) = (logs.path().join("outside"), logs.path().join("run"));
        fs::create_dir_all(&outside).unwrap();
        for name in [LOCK, "metrics.jsonl", "config.json", "checkpoints", "checkpoints/last.safetensors"] {
            for target in [outside.clone(), outside.join("missing")] {
                fs::create_dir_all(run.join(name).parent().unwrap()).unwrap();
                symlink(&target, run.join(name)).unwrap();
                let error = RunFolder::open(&run).unwrap_err().to_string();
                assert!(error.contains(name) && error.contains("symbolic link"), "{error}");
                fs::remove_dir_all(&run).unwrap();
            }
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
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
