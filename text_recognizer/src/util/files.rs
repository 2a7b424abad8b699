//! Atomic writes of files, folders that survive a power cut, and reads of limited size.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// The prefix of the names of temporary files, which remain if a process is killed.
pub const TEMPORARY: &str = ".tmp-";

/// Writes `bytes` to `path` atomically: to a temporary file in the same folder, which is synced and then renamed. A pipe or a device,
/// such as `/dev/stdout`, is written to, and not replaced.
///
/// # Errors
/// Fails if the folder cannot be written to; the file that was at `path` is still there then.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let is_special = |metadata: fs::Metadata| !metadata.is_file() && !metadata.is_dir();
    if fs::metadata(path).is_ok_and(is_special) {
        let mut place = File::options().write(true).open(path).map_err(Error::io("cannot write", path))?;
        return place.write_all(bytes).map_err(Error::io("cannot write", path));
    }
    replace(path, |file| file.write_all(bytes).map_err(Error::io("cannot write", path)))
}

/// Reads a file or a pipe of at most `most` bytes. A device, such as `/dev/zero`, is an error.
///
/// # Errors
/// Fails if the file cannot be read, or is larger.
pub fn read_limited(path: impl AsRef<Path>, most: u64) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let failed = || Error::io("cannot read", path);
    let too_large = || {
        let what = format!("found more than {most} bytes, expected at most that many");
        failed()(std::io::Error::new(ErrorKind::FileTooLarge, what))
    };
    let file = File::open(path).map_err(failed())?;
    let metadata = file.metadata().map_err(failed())?;
    if is_device(&metadata) {
        let what = "found a device, expected a file or a pipe";
        return Err(failed()(std::io::Error::new(ErrorKind::InvalidInput, what)));
    }
    if metadata.len() > most {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed())?;
    if bytes.len() as u64 > most { Err(too_large()) } else { Ok(bytes) }
}

fn is_device(metadata: &fs::Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = metadata.file_type();
        kind.is_char_device() || kind.is_block_device()
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        false
    }
}

/// Replaces the file at `path` with the one that `fill` writes, so that a reader at any time, also after a power cut,
/// finds either the old file or the whole new one. If it fails, it leaves no other file.
pub(crate) fn replace(path: &Path, fill: impl FnOnce(&mut NamedTempFile) -> Result<()>) -> Result<()> {
    let folder = folder_of(path);
    let failed = || Error::io("cannot write", path);
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Those of any new file: the umask of the process is taken away from them.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.prefix(TEMPORARY).tempfile_in(folder).map_err(failed())?;
    fill(&mut file)?;
    file.as_file().sync_all().map_err(failed())?;
    // Only the cause is kept: the whole error would keep the temporary file.
    file.persist(path).map_err(|error| failed()(error.error))?;
    // The rename is on disk only after the folder is synced.
    sync_folder(folder).map_err(failed())
}

/// Creates a folder and its missing parents, and syncs the folders that get a new one, so that all of them still exist after a
/// power cut. Returns the folders that it created, outermost first.
///
/// ```
/// use text_recognizer::util::files::create_folder_synced;
///
/// # let place = tempfile::tempdir()?;
/// # let place = place.path();
/// assert_eq!(create_folder_synced(place.join("a/b"))?, [place.join("a"), place.join("a/b")]);
/// assert_eq!(create_folder_synced(place.join("a/c"))?, [place.join("a/c")]);
/// assert!(create_folder_synced(place.join("a"))?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Fails if a folder cannot be created, or a file has its name. The folders that were created before are not removed.
pub fn create_folder_synced(path: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let path = path.as_ref();
    let failed = || Error::io("cannot create the folder", path);
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !is_folder(folder)).collect();
    let mut created = Vec::new();
    for folder in missing.into_iter().rev() {
        match fs::create_dir(folder) {
            Ok(()) => created.push(folder.to_owned()),
            // Another process created it in the meantime, and may not have synced it yet.
            Err(_) if is_folder(folder) => {}
            Err(error) => return Err(failed()(error)),
        }
        sync_folder(folder_of(folder)).map_err(failed())?;
    }
    Ok(created)
}

/// Returns whether a folder exists. The empty path is the current folder.
fn is_folder(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.is_dir()
}

/// Returns the folder that contains `path`.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes the entries of a folder to the disk. Does nothing if the file system or the permissions of the folder do not allow it.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied
            ) =>
        {
            log::debug!("cannot sync {}: {error}", folder.display());
            Ok(())
        }
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn write_atomic_to_a_pipe_writes_to_it_and_keeps_it() {
        use std::os::unix::fs::FileTypeExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let reader = std::thread::spawn({
            let path = path.clone();
            move || fs::read_to_string(path).unwrap()
        });
        write_atomic(&path, b"all").unwrap();
        assert_eq!(reader.join().unwrap(), "all");
        assert!(fs::metadata(&path).unwrap().file_type().is_fifo());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn write_atomic_replaces_file_and_leaves_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        for text in ["one", "two"] {
            write_atomic(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = write_atomic(folder.path().join("none/a"), b"").unwrap_err().to_string();
        assert!(error.starts_with("cannot write ") && error.contains("none/a"), "{error}");
    }

    #[test]
    fn read_limited_larger_file_or_device_fails_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read_limited(&path, 5).unwrap(), b"12345");
        let error = |path: &Path| read_limited(path, 4).unwrap_err().to_string();
        let expected = format!("cannot read {}: found more than 4 bytes", path.display());
        assert!(error(&path).starts_with(&expected), "{}", error(&path));
        assert!(error(folder.path()).starts_with("cannot read "), "{}", error(folder.path()));
        assert!(!cfg!(unix) || error(Path::new("/dev/zero")).contains("found a device"));
    }

    #[test]
    fn failed_write_keeps_the_old_file_and_leaves_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_atomic(&path, b"old").unwrap();
        let failed = replace(&path, |file| {
            file.write_all(&[0; 4096]).unwrap();
            Err(Error::malformed("a", "the disk is full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        // A folder cannot be replaced by a file.
        fs::create_dir(folder.path().join("b")).unwrap();
        assert!(write_atomic(folder.path().join("b"), &[0; 4096]).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn create_folder_synced_in_place_of_a_file_fails_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), b"").unwrap();
        for name in ["a", "a/b"] {
            let error = create_folder_synced(folder.path().join(name)).unwrap_err().to_string();
            assert!(error.starts_with("cannot create the folder ") && error.contains(name), "{error}");
        }
    }

    /// The umask belongs to the process, so that the test runs itself in a process of its own.
    #[cfg(unix)]
    #[test]
    fn write_atomic_permissions_are_those_of_the_umask() {
        use std::os::unix::fs::PermissionsExt;

        const FOLDER: &str = "TEST_OF_UMASK_WRITES_TO";
        if let Some(folder) = std::env::var_os(FOLDER) {
            return write_atomic(Path::new(&folder).join("a"), b"1").unwrap();
        }
        for (umask, expected) in [("022", 0o644), ("027", 0o640), ("077", 0o600), ("002", 0o664)] {
            let folder = tempfile::tempdir().unwrap();
            let name = "util::files::tests::write_atomic_permissions_are_those_of_the_umask";
            let mut child = std::process::Command::new("sh");
            child.args(["-c", "umask $1; shift; exec \"$@\"", "sh", umask]);
            child.arg(std::env::current_exe().unwrap()).args(["--exact", name]).env(FOLDER, folder.path());
            assert!(child.output().unwrap().status.success());
            let mode = folder.path().join("a").metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, expected, "umask {umask}");
        }
    }
}
