//! Atomic writes of files.

use std::fs::{self, File};
use std::io::Write;
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
}
