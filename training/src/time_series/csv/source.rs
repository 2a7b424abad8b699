//! Opens files: compression and encoding.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};
use encoding_rs_io::DecodeReaderBytesBuilder;

use super::{CsvConfig, Typed, flags};

/// The bytes at the start of a file by which its form is recognized.
const START: usize = 64 << 10;

/// The text of a file.
pub(super) struct Source<'a> {
    /// The start of the text, which is sniffed.
    pub start: Vec<u8>,
    /// Whether `start` is the whole text.
    pub whole: bool,
    rest: Box<dyn Read + 'a>,
    /// Notes on the recognized form, one sentence each.
    pub notes: Vec<String>,
    /// The kind of a file of which the text is made.
    pub typed: Option<Typed>,
}

impl<'a> Source<'a> {
    /// Opens a file, or standard input for `-`.
    ///
    /// # Errors
    /// Fails if the file cannot be opened or read, or if it is no text.
    pub fn open(path: &Path, config: &CsvConfig) -> Result<Self> {
        if path == Path::new("-") {
            return Self::new(io::stdin().lock(), config);
        }
        ensure!(!path.is_dir(), "it is a folder, expected a file");
        Self::new(std::fs::File::open(path)?, config)
    }

    /// Decompresses and decodes `input`.
    ///
    /// # Errors
    /// Fails if `input` cannot be read, or if it is no text.
    pub fn new(input: impl Read + 'a, config: &CsvConfig) -> Result<Self> {
        let mut notes = Vec::new();
        let mut input = peeked(input)?;
        match input.fill_buf()? {
            [0x1f, 0x8b, ..] => {
                notes.push("the file is compressed with gzip".to_owned());
                input =
                    peeked(flate2::bufread::MultiGzDecoder::new(input)).context("cannot decompress it")?;
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                notes.push("the file is compressed with zstd".to_owned());
                input = peeked(zstd::stream::read::Decoder::with_buffer(input)?)
                    .context("cannot decompress it")?;
            }
            _ => {}
        }
        let start = input.fill_buf()?;
        if let Some(typed) = Typed::of(start) {
            let mut input = typed.text(input, config, &mut notes)?;
            let mut start = Vec::new();
            input.by_ref().take(START as u64).read_to_end(&mut start)?;
            return Ok(Self { whole: start.len() < START, start, rest: input, notes, typed: Some(typed) });
        }
        ensure!(config.sheet.is_none(), "--sheet has no effect on a text file; try it without this flag");
        check_is_text(start)?;
        let encoding = encoding(config)?;
        let sniffed = encoding.is_none().then(|| utf16(start)).flatten();
        if let Some(encoding) = sniffed {
            notes.push(format!("the encoding is {} (--encoding)", encoding.name()));
        }
        let has_mark = [&b"\xff\xfe"[..], b"\xfe\xff"].iter().any(|mark| start.starts_with(mark));
        let mut input: Box<dyn Read + 'a> = match encoding.or(sniffed) {
            None if !has_mark => Box::new(input),
            encoding => Box::new(DecodeReaderBytesBuilder::new().encoding(encoding).build(input)),
        };
        let mut start = Vec::new();
        input.by_ref().take(START as u64).read_to_end(&mut start).context("cannot read it")?;
        // Old programs of the Macintosh ended lines with CR.
        let has = |byte: u8| start.contains(&byte);
        if has(b'\r') && !has(b'\n') {
            start.iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b'\n');
            input = Box::new(Lines(input));
        }
        let whole = start.len() < START;
        Ok(Self { start, whole, rest: input, notes, typed: None })
    }

    /// Returns the text without its first `lines` lines.
    ///
    /// # Errors
    /// Fails if the text cannot be read.
    pub fn skip(self, lines: usize) -> Result<Box<dyn Read + 'a>> {
        let at = nth_line(&self.start, lines);
        let (mut start, mut rest) = (self.start, self.rest);
        match at {
            Some(at) => {
                start.drain(..at);
            }
            None => {
                // The lines go beyond the start, which is rare.
                let mut left = lines - start.iter().filter(|byte| **byte == b'\n').count();
                let mut byte = [0];
                while left > 0 && rest.read(&mut byte)? > 0 {
                    left -= usize::from(byte[0] == b'\n');
                }
                start.clear();
            }
        }
        Ok(Box::new(Cursor::new(start).chain(rest)))
    }
}

/// Returns a reader whose buffer has the start of `input`. A pipe may give it in small pieces.
fn peeked<'a>(mut input: impl Read + 'a) -> Result<Box<dyn BufRead + 'a>> {
    let mut start = Vec::new();
    input.by_ref().take(START as u64).read_to_end(&mut start).context("cannot read it")?;
    Ok(Box::new(Cursor::new(start).chain(BufReader::with_capacity(START, input))))
}

/// Returns the encoding of the flag.
fn encoding(config: &CsvConfig) -> Result<Option<&'static Encoding>> {
    let find = |label: &String| {
        let find = || Encoding::for_label(flags::label(label).as_bytes());
        find().with_context(|| {
            format!("cannot decode --encoding {label}: expected a known encoding, such as cp1252")
        })
    };
    config.encoding.as_ref().map(find).transpose()
}

/// Returns the place where line `line` begins, from 0; `None` if it is not in `text`.
fn nth_line(text: &[u8], line: usize) -> Option<usize> {
    match line.checked_sub(1) {
        None => Some(0),
        Some(end) => {
            text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(end).map(|(at, _)| at + 1)
        }
    }
}

/// Returns `text` without its first `lines` lines.
pub(super) fn after_line(text: &[u8], lines: usize) -> &[u8] {
    nth_line(text, lines).map_or(&[], |at| &text[at..])
}

/// A reader that replaces CR by LF.
struct Lines<'a>(Box<dyn Read + 'a>);

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        buffer[..read].iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b'\n');
        Ok(read)
    }
}

/// Fails with the form of a file that is known to be no text.
fn check_is_text(start: &[u8]) -> Result<()> {
    const FORMS: &[(&[u8], &str)] = &[
        (b"\xd0\xcf\x11\xe0", "an .xls workbook, or a workbook with a password"),
        (b"%PDF", "a PDF document"),
        (b"BZh", "compressed with bzip2"),
        (b"\xfd7zXZ", "compressed with xz"),
        (b"SQLite format 3", "an SQLite database"),
        (b"\x89PNG", "a PNG image"),
        (b"\x89HDF", "an HDF5 file"),
        (b"ARROW1", "an Arrow file"),
    ];
    if let Some((_, form)) = FORMS.iter().find(|(magic, _)| start.starts_with(magic)) {
        bail!("it is {form}, expected CSV, also compressed with gzip or zstd; try to export it as CSV");
    }
    let text = start.trim_ascii_start();
    let begins =
        |mark: &str| text.get(..mark.len()).is_some_and(|start| start.eq_ignore_ascii_case(mark.as_bytes()));
    ensure!(
        !begins("<!doctype") && !begins("<html") && !begins("<?xml"),
        "it is a page of HTML or XML, expected CSV"
    );
    ensure!(!begins("{\"") && !begins("[{"), "it is JSON, expected CSV");
    Ok(())
}

/// Recognizes UTF-16 without a byte order mark: every second byte of ASCII text is zero.
fn utf16(start: &[u8]) -> Option<&'static Encoding> {
    let start = &start[..start.len().min(1024) & !1];
    let zeros = |parity: usize| start.iter().skip(parity).step_by(2).filter(|byte| **byte == 0).count();
    let most = start.len() * 2 / 5;
    match (zeros(0), zeros(1)) {
        (0, odd) if odd > 0 && odd >= most => Some(UTF_16LE),
        (even, 0) if even > 0 && even >= most => Some(UTF_16BE),
        _ => None,
    }
}
