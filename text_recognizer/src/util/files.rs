//! Atomic writes of files, and reads of limited size.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// The prefix of the names of temporary files, which remain if a process is killed.
pub const TEMPORARY: &str = ".tmp-";

/// Writes `bytes` to `path` atomically: to a temporary file in the same folder, which is synced and then renamed.
///
/// # Errors
/// Fails if the folder cannot be written to; the file that was at `path` is still there then.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    replace(path, |file| file.write_all(bytes).map_err(Error::io("cannot write", path)))
}

/// Reads a file or a pipe of at most `most` bytes. A device that never ends, such as `/dev/zero`, is an error too.
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
    if file.metadata().map_err(failed())?.len() > most {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed())?;
    if bytes.len() as u64 > most { Err(too_large()) } else { Ok(bytes) }
}

/// Replaces the file at `path` with the one that `fill` writes, so that a reader at any time, also after a power cut,
/// finds either the old file or the whole new one.
pub(crate) fn replace(path: &Path, fill: impl FnOnce(&mut NamedTempFile) -> Result<()>) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = || Error::io("cannot write", path);
    let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder).map_err(failed())?;
    fill(&mut file)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(failed())?;
    }
    file.as_file().sync_all().map_err(failed())?;
    // Only the cause is kept: the whole error would keep the temporary file.
    file.persist(path).map_err(|error| failed()(error.error))?;
    // The rename is on disk only after the folder is synced.
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn read_limited_larger_file_or_endless_device_fails_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read_limited(&path, 5).unwrap(), b"12345");
        let error = |path: &Path| read_limited(path, 4).unwrap_err().to_string();
        let expected = format!("cannot read {}: found more than 4 bytes", path.display());
        assert!(error(&path).starts_with(&expected), "{}", error(&path));
        assert!(error(folder.path()).starts_with("cannot read "), "{}", error(folder.path()));
        assert!(!cfg!(unix) || error(Path::new("/dev/zero")).contains("more than 4 bytes"));
    }
}
