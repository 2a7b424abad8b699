//! SHA-256 of files.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Returns the SHA-256 of the bytes of a file, as 64 lower-case hexadecimal digits.
///
/// ```
/// use text_recognizer::util::compute_sha256;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("abc.txt");
/// std::fs::write(&path, "abc")?;
/// assert!(compute_sha256(&path)?.starts_with("ba7816bf8f01cfea"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Fails if the file cannot be read.
pub fn compute_sha256(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let mut hasher = Hasher(Sha256::new());
    let mut file = File::open(path).map_err(Error::io("cannot open", path))?;
    std::io::copy(&mut file, &mut hasher).map_err(Error::io("cannot read", path))?;
    Ok(hex(hasher.0))
}

/// A writer that hashes.
struct Hasher(Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Returns the digest as hexadecimal digits.
pub(crate) fn hex(hasher: Sha256) -> String {
    format!("{:x}", hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compute_sha256_matches_published_digest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(compute_sha256(&path).unwrap(), expected);
        assert!(compute_sha256(dir.path().join("none")).is_err());
    }
}
