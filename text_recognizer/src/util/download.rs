//! Downloads over HTTP, which resume after a broken connection, try several mirrors, and appear under their name when whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::{Agent, Body, http::Response};

use crate::error::{Error, Result};
use crate::util::compute_sha256;

/// The number of attempts per URL if the connection breaks; each continues after the last one.
const ATTEMPTS: usize = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The progress of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The name of the file on disk.
    pub file: &'a str,
    /// The URL.
    pub url: &'a str,
    /// The number of bytes on disk, including those of earlier attempts.
    pub received: u64,
    /// The number of bytes of the file, if the server sends it.
    pub total: Option<u64>,
}

/// Downloads `url` to `path`; the file appears there only when it is whole.
///
/// The bytes are kept in `path` with `.part` appended, and a later call continues from there. If `sha256` (of the bytes of the
/// file, in hexadecimal) is given, a file at `path` with this digest is not downloaded again, and a download with another
/// digest is not renamed to `path`. `progress` is called after each 64 KiB.
///
/// ```
/// use text_recognizer::util::download_url;
///
/// # use std::io::{BufRead, BufReader, Write};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("abc.txt");
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let url = format!("http://{}/abc.txt", listener.local_addr()?);
/// # std::thread::spawn(move || {
/// #     let (mut stream, _) = listener.accept().unwrap();
/// #     let request = BufReader::new(&stream).lines().map(Result::unwrap);
/// #     request.take_while(|line| !line.is_empty()).for_each(drop);
/// #     stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").unwrap();
/// # });
/// let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/// download_url(&url, &path, Some(sha256), &mut |progress| println!("{} bytes", progress.received))?;
/// assert_eq!(std::fs::read(&path)?, b"abc");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Fails if the server does not send the file, if the digest differs, or if the file cannot be written.
pub fn download_url(
    url: &str,
    path: impl AsRef<Path>,
    sha256: Option<&str>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    let path = path.as_ref();
    let verify = |file: &Path| {
        let Some(expected) = sha256 else { return Ok(()) };
        let got = compute_sha256(file)?;
        if got.eq_ignore_ascii_case(expected) {
            return Ok(());
        }
        Err(Error::Checksum { path: file.to_owned(), expected: expected.to_owned(), got })
    };
    if sha256.is_some() && path.exists() && verify(path).is_ok() {
        return Ok(());
    }
    let fetch = Fetch { urls: &[url.to_owned()], path, max_bytes: u64::MAX, verify: &verify };
    fetch.run(progress)
}

/// The download of one file.
pub(crate) struct Fetch<'a> {
    /// The URLs, tried in this order.
    pub urls: &'a [String],
    /// The path of the file.
    pub path: &'a Path,
    /// The most bytes that are accepted.
    pub max_bytes: u64,
    /// Fails if the file at a path is not the expected one.
    pub verify: &'a dyn Fn(&Path) -> Result<()>,
}

/// The cause of a failed attempt, by its remedy.
enum Failure {
    /// An error of the disk, which no other attempt can solve.
    Disk(Error),
    /// An error that a new attempt at the same URL may solve.
    Retry(String),
    /// An error that only another URL may solve.
    Permanent(String),
}

impl Fetch<'_> {
    /// Downloads the file from the first URL that has it.
    pub fn run(&self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        self.run_with(&agent(IDLE_TIMEOUT), progress)
    }

    fn run_with(&self, agent: &Agent, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(Error::io("cannot create", folder))?;
        }
        let mut failures = vec![];
        for url in self.urls {
            for _ in 0..ATTEMPTS {
                match self.attempt(agent, url, progress) {
                    Ok(()) => return Ok(()),
                    Err(Failure::Disk(error)) => return Err(error),
                    Err(Failure::Retry(why)) => failures.push(format!("{url}: {why}")),
                    Err(Failure::Permanent(why)) => {
                        failures.push(format!("{url}: {why}"));
                        break;
                    }
                }
            }
        }
        Err(Error::Download {
            name: self.name().into_owned(),
            path: self.path.to_owned(),
            attempts: failures,
        })
    }

    fn attempt(
        &self,
        agent: &Agent,
        url: &str,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), Failure> {
        let part = self.part();
        let have = part.metadata().map_or(0, |m| m.len());
        let mut request = agent.get(url);
        if have > 0 {
            request = request.header("Range", format!("bytes={have}-"));
        }
        let response = request.call().map_err(|error| match &error {
            ureq::Error::Io(e) if e.kind() != std::io::ErrorKind::ConnectionRefused => {
                Failure::Retry(error.to_string())
            }
            _ => Failure::Permanent(error.to_string()),
        })?;
        let start = match response.status().as_u16() {
            200 => 0,
            206 if range_start(&response) == Some(have) => have,
            206 => {
                self.discard()?;
                return Err(Failure::Retry("the server sent another range than the requested one".into()));
            }
            // There are no bytes after those of the part: it is whole, or not of this file.
            416 if have > 0 => return self.accept(have),
            _ => return Err(Failure::Permanent(format!("HTTP status {}", response.status()))),
        };
        self.receive(response, url, start, progress)?;
        self.accept(start)
    }

    /// Writes the body of a response to the part, from byte `start` on.
    fn receive(
        &self,
        response: Response<Body>,
        url: &str,
        start: u64,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), Failure> {
        let body = response.into_body();
        let total = body.content_length().map(|length| start + length);
        self.within_bounds(total.unwrap_or(0))?;
        let part = self.part();
        let disk = |error| Failure::Disk(Error::io("cannot write", &part)(error));
        let mut file = open_at(&part, start).map_err(disk)?;
        let (name, mut received) = (self.name(), start);
        let mut body = body.into_reader();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let n = body
                .read(&mut buffer)
                .map_err(|e| Failure::Retry(format!("the connection broke after {received} bytes: {e}")))?;
            if n == 0 {
                // Not before the end: bytes beyond may be of an older part, or of another process that is ahead.
                return file.set_len(received).and_then(|()| file.sync_all()).map_err(disk);
            }
            received += n as u64;
            self.within_bounds(received)?;
            file.write_all(&buffer[..n]).map_err(disk)?;
            progress(Progress { file: &name, url, received, total });
        }
    }

    /// Checks that a number of bytes is accepted; if not, deletes the part.
    fn within_bounds(&self, bytes: u64) -> Result<(), Failure> {
        if bytes <= self.max_bytes {
            return Ok(());
        }
        self.discard()?;
        Err(Failure::Permanent(format!(
            "the server sends {bytes} bytes or more, expected at most {}",
            self.max_bytes
        )))
    }

    /// Verifies the part and renames it; `resumed_at` is the number of bytes from earlier attempts.
    fn accept(&self, resumed_at: u64) -> Result<(), Failure> {
        let part = self.part();
        match (self.verify)(&part) {
            Ok(()) => match fs::rename(&part, self.path) {
                Err(error) if part.exists() || !self.path.exists() => {
                    Err(Failure::Disk(Error::io("cannot rename the download to", self.path)(error)))
                }
                _ => Ok(()),
            },
            // Another process downloaded the same file, and has verified and renamed it.
            Err(_) if !part.exists() && self.path.exists() => Ok(()),
            Err(error) => {
                self.discard()?;
                let why = reason(error);
                // The earlier bytes may be the cause, for example of a mirror that compressed the file differently.
                Err(match resumed_at {
                    0 => Failure::Permanent(why),
                    n => Failure::Retry(format!("resumed at byte {n}: {why}")),
                })
            }
        }
    }

    /// Deletes the part.
    fn discard(&self) -> Result<(), Failure> {
        let part = self.part();
        match fs::remove_file(&part) {
            Err(error) if part.exists() => Err(Failure::Disk(Error::io("cannot delete", &part)(error))),
            _ => Ok(()),
        }
    }

    fn name(&self) -> std::borrow::Cow<'_, str> {
        self.path.file_name().unwrap_or_default().to_string_lossy()
    }

    /// Returns the path of the unfinished download.
    fn part(&self) -> PathBuf {
        let mut name = OsString::from(self.path);
        name.push(".part");
        name.into()
    }
}

/// Returns the message of an error without the path of the part, which is deleted when the message is read.
fn reason(error: Error) -> String {
    match error {
        Error::Malformed { what, .. } => what,
        Error::Checksum { expected, got, .. } => {
            format!("SHA-256 is {got}, expected {expected}")
        }
        other => other.to_string(),
    }
}

/// Opens a part for writing at byte `start`, not for appending, so that two processes that download the same file write the same
/// bytes to the same positions.
fn open_at(part: &Path, start: u64) -> std::io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(part)?;
    file.seek(SeekFrom::Start(start))?;
    Ok(file)
}

/// Returns START of a response's header `Content-Range: bytes START-END/TOTAL`.
fn range_start(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get("content-range")?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

/// Creates an HTTP client.
fn agent(idle_timeout: Duration) -> Agent {
    Agent::config_builder()
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_per_read(Some(idle_timeout))
        // The size of a part counts bytes of the file, so the server must not compress the response.
        .accept_encoding("identity")
        .http_status_as_error(false)
        .build()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn fetch<'a>(urls: &'a [String], path: &'a Path, verify: &'a dyn Fn(&Path) -> Result<()>) -> Fetch<'a> {
        Fetch { urls, path, max_bytes: 100, verify }
    }

    #[test]
    fn run_server_without_answer_fails_with_timeout() {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Connections wait in the backlog and are never answered.
        let urls = [format!("http://{}/f", listener.local_addr().unwrap())];
        let path = dir.path().join("f");
        let agent = agent(Duration::from_millis(50));
        let error = fetch(&urls, &path, &|_| Ok(())).run_with(&agent, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("timeout"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn accept_file_that_another_process_finished_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let part = dir.path().join("f.part");
        let finish = |part: &Path| fs::rename(part, &path).map_err(Error::io("cannot rename", part));
        for outcome in [true, false] {
            fs::write(&part, "x").unwrap();
            let verify = |part: &Path| {
                finish(part)?;
                if outcome { Ok(()) } else { compute_sha256(part).map(|_| ()) }
            };
            assert!(fetch(&[], &path, &verify).accept(0).is_ok());
            assert_eq!(fs::read(&path).unwrap(), b"x");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn run_folder_that_cannot_be_created_fails_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let path = file.join("below").join("f");
        let error = fetch(&[], &path, &|_| Ok(())).run(&mut |_| {}).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("cannot create {}", file.join("below").display())),
            "{error}"
        );
    }
}
