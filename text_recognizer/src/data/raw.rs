//! Raw data sets: which files they consist of, where these come from, and whether what is on disk is the published
//! content.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::util::{Fetch, Progress, hex};

/// What a data set's `metadata.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDataset {
    /// The name of its folder and of `--data`.
    pub name: String,
    /// The licence that its authors gave it.
    pub licence: String,
    /// Addresses to which a file's name is appended, tried in this order.
    pub mirrors: Vec<String>,
    /// The files.
    pub files: Vec<RawFile>,
}

/// One file of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFile {
    /// Its name on the mirrors; where that ends in `.gz`, the folder may also hold the file without, uncompressed.
    pub name: String,
    /// The number of bytes, uncompressed.
    pub content_bytes: u64,
    /// The SHA-256 of the uncompressed content: mirrors and packages compress the same content differently.
    pub content_sha256: String,
}

impl RawDataset {
    /// Parses a `metadata.json`.
    ///
    /// # Errors
    /// When it is not one; the message names line, column and field.
    pub fn from_json(json: &str) -> Result<Self> {
        serde_json::from_str(json)
            .map_err(|source| Error::Json { what: "a raw data set's metadata".into(), source })
    }

    /// The file of that name.
    ///
    /// # Errors
    /// When the metadata lists none.
    pub fn file(&self, name: &str) -> Result<&RawFile> {
        let known = || self.files.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", ");
        let file = self.files.iter().find(|f| f.name == name);
        file.ok_or_else(|| Error::invalid("the file", name, format!("one of {}", known())))
    }

    /// Whether `folder` holds every file. Looks at names, not into the files.
    pub fn is_complete_in(&self, folder: &Path) -> bool {
        self.files.iter().all(|file| file.path_in(folder).is_some())
    }
}

impl RawFile {
    /// The file in `folder`, compressed or not; `None` where it is neither.
    pub fn path_in(&self, folder: &Path) -> Option<PathBuf> {
        let plain = self.name.strip_suffix(".gz");
        let names = [Some(self.name.as_str()), plain];
        names.into_iter().flatten().map(|name| folder.join(name)).find(|path| path.is_file())
    }

    /// Checks that a file, compressed or not, has the published content.
    ///
    /// # Errors
    /// When it cannot be read, cannot be uncompressed, or has another content.
    pub fn verify(&self, path: &Path) -> Result<()> {
        let mut content = Content::open(path)?;
        let mut buffer = vec![0; CHUNK];
        while content.fill(&mut buffer)? == buffer.len() && content.position <= self.content_bytes {}
        self.check(content)
    }

    /// Checks a content that has been read to its end.
    pub(crate) fn check(&self, content: Content) -> Result<()> {
        if content.position != self.content_bytes {
            let (got, more) = (content.position, content.position > self.content_bytes);
            let got = if more { format!("more than {}", self.content_bytes) } else { got.to_string() };
            let what = format!("has {got} bytes of content, expected {}{HINT}", self.content_bytes);
            return Err(Error::malformed(&content.path, what));
        }
        let got = hex(content.hasher);
        if got == self.content_sha256 {
            return Ok(());
        }
        Err(Error::Checksum { path: content.path, expected: self.content_sha256.clone(), got })
    }
}

/// Makes sure that `folder` holds every file of `dataset` with the published content, downloading what is missing.
///
/// A file that is there is checked too. A download that breaks off leaves a `.part` that the next call goes on from,
/// and a file appears under its name only once its content is checked. `progress` is called after each 64 KiB.
///
/// # Errors
/// When a file that is there has another content (it is left alone), no mirror delivers a missing one, or the disk
/// refuses.
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
            // Deflate makes what cannot be compressed longer by less than a thousandth, and a header.
            max_bytes: file.content_bytes + file.content_bytes / 1000 + 4096,
            verify: &|part| file.verify(part).map_err(without_hint),
        };
        fetch.run(progress)?;
    }
    Ok(())
}

/// What is wrong with a download is deleted already.
fn without_hint(error: Error) -> Error {
    match error {
        Error::Malformed { path, what } => Error::malformed(path, what.trim_end_matches(HINT)),
        other => other,
    }
}

/// Bytes read at a time: small enough that they are hashed while still in the processor's cache.
pub(crate) const CHUNK: usize = 128 << 10;

/// Deflate's best ratio is 1,032 to 1.
const MAX_INFLATION: u64 = 1032;

const HINT: &str = "; the file is damaged or not the one published: delete it and run again";

/// A file's content, uncompressed where the file begins as gzip does, and hashed while it is read.
pub(crate) struct Content {
    reader: Box<dyn Read>,
    hasher: Sha256,
    path: PathBuf,
    /// Bytes read so far.
    pub position: u64,
    /// More than this cannot come.
    pub most: u64,
}

impl Content {
    pub fn open(path: &Path) -> Result<Self> {
        log::debug!("reading {}", path.display());
        let file = File::open(path).map_err(Error::io("opening", path))?;
        let stored = file.metadata().map_err(Error::io("reading", path))?.len();
        Self::new(BufReader::with_capacity(CHUNK, file), stored, path)
    }

    /// The content of `stored` bytes that `reader` gives; `path` is what errors name.
    pub fn new(mut reader: impl BufRead + 'static, stored: u64, path: &Path) -> Result<Self> {
        let is_gzip = reader.fill_buf().map_err(Error::io("reading", path))?.starts_with(&[0x1f, 0x8b]);
        let (reader, most): (Box<dyn Read>, _) = if is_gzip {
            (Box::new(MultiGzDecoder::new(reader)), stored.saturating_mul(MAX_INFLATION))
        } else {
            (Box::new(reader), stored)
        };
        Ok(Self { reader, hasher: Sha256::new(), path: path.to_owned(), position: 0, most })
    }

    /// Fills `buffer`, and returns how much of it: less than all only at the content's end.
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

    /// An error that says what is wrong at the current position.
    pub fn malformed(&self, what: impl std::fmt::Display) -> Error {
        Error::malformed(&self.path, format!("{what}{HINT}"))
    }

    fn unreadable(&self, error: std::io::Error, filled: usize) -> Error {
        match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                let at = self.position + filled as u64;
                self.malformed(format_args!("gunzip failed after {at} bytes of content: {error}"))
            }
            _ => Error::io("reading", &self.path)(error),
        }
    }
}
