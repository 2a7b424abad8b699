//! Raw data sets: their files, the mirrors, and the verification that a file on disk has the published content.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::util::{Fetch, Progress, hex};

/// The `metadata.json` of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDataset {
    /// The name of its folder, and its value of `--data`.
    pub name: String,
    /// The license of the data.
    pub license: String,
    /// Addresses to which a file's name is appended, tried in this order.
    pub mirrors: Vec<String>,
    /// The files.
    pub files: Vec<RawFile>,
}

/// One file of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFile {
    /// Its name on the mirrors. If that ends in `.gz`, the folder may also contain the uncompressed file without this ending.
    pub name: String,
    /// The number of bytes, uncompressed.
    pub content_bytes: u64,
    /// The SHA-256 of the uncompressed content, in hexadecimal: mirrors and packages compress the same content differently.
    pub content_sha256: String,
}

impl RawDataset {
    /// Parses a `metadata.json`.
    ///
    /// # Errors
    /// Fails if a field is missing, unknown or of another type; the message has the line, column and field.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|source| Error::Json {
            what: "cannot read the metadata of a raw data set".into(),
            source,
        })
    }

    /// Returns the file of that name.
    ///
    /// # Errors
    /// Fails if the metadata does not list it.
    pub fn file(&self, name: &str) -> Result<&RawFile> {
        let known = || self.files.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", ");
        let file = self.files.iter().find(|f| f.name == name);
        file.ok_or_else(|| Error::invalid("the file", name, format!("one of {}", known())))
    }

    /// Returns whether `folder` contains every file. Checks that they exist, not their content.
    pub fn is_complete_in(&self, folder: &Path) -> bool {
        self.files.iter().all(|file| file.path_in(folder).is_some())
    }
}

impl RawFile {
    /// Returns the path of the file in `folder`, compressed or not; `None` if it is absent.
    pub fn path_in(&self, folder: &Path) -> Option<PathBuf> {
        let plain = self.name.strip_suffix(".gz");
        let names = [Some(self.name.as_str()), plain];
        names.into_iter().flatten().map(|name| folder.join(name)).find(|path| path.exists())
    }

    /// Verifies that the file at `path`, compressed or not, has the published content.
    ///
    /// # Errors
    /// Fails if it cannot be read or uncompressed, or if its size or digest is another.
    pub fn verify(&self, path: &Path) -> Result<()> {
        let mut content = Content::open(path)?;
        let mut buffer = vec![0; CHUNK];
        while content.fill(&mut buffer)? == buffer.len() && content.position <= self.content_bytes {}
        self.check(content)
    }

    /// Verifies a content that was read to its end.
    pub(crate) fn check(&self, content: Content) -> Result<()> {
        if content.position != self.content_bytes {
            let (got, more) = (content.position, content.position > self.content_bytes);
            let got = if more { format!("more than {}", self.content_bytes) } else { got.to_string() };
            let what = format!("the content has {got} bytes, expected {}{HINT}", self.content_bytes);
            return Err(Error::malformed(&content.path, what));
        }
        let got = hex(content.hasher);
        if got == self.content_sha256 {
            return Ok(());
        }
        Err(Error::Checksum { path: content.path, expected: self.content_sha256.clone(), got })
    }
}

/// Downloads the missing files of `dataset` to `folder`, and verifies the content of all.
///
/// An interrupted download leaves a file with the ending `.part`, from which the next call continues. A file gets its own name
/// only after its content is verified. `progress` is called after each 64 KiB.
///
/// # Errors
/// Fails if an existing file has another content (it is not changed), if no mirror has a missing file, or if `folder` cannot be
/// written to.
pub fn download_raw_dataset(
    dataset: &RawDataset,
    folder: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    for file in &dataset.files {
        if let Some(path) = file.path_in(folder) {
            file.verify(&path)?;
            continue;
        }
        let urls: Vec<_> = dataset.mirrors.iter().map(|mirror| format!("{mirror}{}", file.name)).collect();
        let fetch = Fetch {
            urls: &urls,
            path: &folder.join(&file.name),
            // Deflate adds less than a thousandth, and a header, to content that cannot be compressed.
            max_bytes: file.content_bytes + file.content_bytes / 1000 + 4096,
            verify: &|part| file.verify(part).map_err(without_hint),
        };
        fetch.run(progress)?;
    }
    Ok(())
}

/// Removes the advice to delete the file, since a faulty download is already deleted.
fn without_hint(error: Error) -> Error {
    match error {
        Error::Malformed { path, what } => Error::malformed(path, what.trim_end_matches(HINT)),
        other => other,
    }
}

/// Bytes per read: few enough that they are still in the processor's cache when they are hashed.
pub(crate) const CHUNK: usize = 128 << 10;

/// The highest compression ratio of deflate.
const MAX_INFLATION: u64 = 1032;

const HINT: &str = "; the file is damaged or not the published one; delete it and run again";

/// The content of a file, which is uncompressed if it is gzip, and hashed while it is read.
pub(crate) struct Content {
    reader: Box<dyn Read>,
    hasher: Sha256,
    path: PathBuf,
    /// The number of bytes read so far.
    pub position: u64,
    /// Whether the file is gzip.
    pub is_compressed: bool,
    /// An upper bound of the number of bytes.
    pub most: u64,
}

impl Content {
    pub fn open(path: &Path) -> Result<Self> {
        log::debug!("reading {}", path.display());
        // Opening a pipe can block forever.
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Error::malformed(path, "it is not a regular file, expected the published one"));
        }
        let file = File::open(path).map_err(Error::io("cannot open", path))?;
        let stored = file.metadata().map_err(Error::io("cannot read", path))?.len();
        Self::new(BufReader::with_capacity(CHUNK, file), stored, path)
    }

    /// Reads the content from `reader`, which has `stored` bytes; errors name `path`.
    pub fn new(mut reader: impl BufRead + 'static, stored: u64, path: &Path) -> Result<Self> {
        let is_gzip = reader.fill_buf().map_err(Error::io("cannot read", path))?.starts_with(&[0x1f, 0x8b]);
        let (reader, most): (Box<dyn Read>, _) = if is_gzip {
            (Box::new(MultiGzDecoder::new(reader)), stored.saturating_mul(MAX_INFLATION))
        } else {
            (Box::new(reader), stored)
        };
        Ok(Self {
            reader,
            hasher: Sha256::new(),
            path: path.to_owned(),
            position: 0,
            is_compressed: is_gzip,
            most,
        })
    }

    /// Fills `buffer` and returns the number of bytes, which is less than its length only at the end of the content.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.unreadable(e, filled)),
            }
        }
        self.hasher.update(&buffer[..filled]);
        self.position += filled as u64;
        Ok(filled)
    }

    /// Returns an error about the content.
    pub fn malformed(&self, what: impl std::fmt::Display) -> Error {
        Error::malformed(&self.path, format!("{what}{HINT}"))
    }

    fn unreadable(&self, error: std::io::Error, filled: usize) -> Error {
        match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                let at = self.position + filled as u64;
                self.malformed(format_args!("cannot gunzip after {at} bytes of content: {error}"))
            }
            _ => Error::io("cannot read", &self.path)(error),
        }
    }
}
