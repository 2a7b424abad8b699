//! Recognizes the form of a text: comments, the delimiter and the decimal separator.

use anyhow::{Result, bail, ensure};

use super::CsvConfig;
use super::header::{names_columns, texts};
use super::number::{Evidence, Na, Separators, evidence, value};
use super::source::after_line;
use crate::time_series::TimeReader;

/// The most rows that are sniffed.
const ROWS: usize = 200;

/// The delimiters that are recognized, and their names.
const DELIMITERS: [(u8, &str); 5] = [(b',', ","), (b';', ";"), (b'\t', "tab"), (b'|', "|"), (b' ', "space")];

/// The form of the rows of a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dialect {
    /// The lines before the table.
    pub skip: usize,
    pub delimiter: u8,
    pub comment: Option<u8>,
}

impl Dialect {
    /// Recognizes the form of a text by its start, and adds notes on it.
    ///
    /// # Errors
    /// Fails if several delimiters split the text equally well.
    pub fn sniff(start: &[u8], whole: bool, config: &CsvConfig, notes: &mut Vec<String>) -> Result<Self> {
        let mut dialect =
            Self { skip: config.skip_rows, delimiter: b',', comment: config.comment.map(|c| c as u8) };
        let text = |skip: usize| after_line(start, skip);
        let first = text(dialect.skip).split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
        let first = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first);
        if dialect.comment.is_none() && first.starts_with(b"#") && config.header != Some(true) {
            dialect.comment = Some(b'#');
            notes.push("lines that start with # are comments (--comment)".into());
        }
        let declared = match first {
            [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter] => Some(*delimiter),
            _ => None,
        };
        dialect.skip += usize::from(declared.is_some());
        if let Some(delimiter) = config.delimiter.map(|c| c as u8).or(declared) {
            dialect.delimiter = delimiter;
        } else {
            let found = delimiter(text(dialect.skip), whole, dialect.comment, config)?;
            if let Some((delimiter, name)) = found.filter(|(delimiter, _)| *delimiter != b',') {
                dialect.delimiter = delimiter;
                notes.push(format!("the delimiter is {name} (--delimiter)"));
            }
        }
        if config.comment.is_none() && dialect.comment.is_some() {
            dialect.check_comment(text(dialect.skip), whole)?;
        }
        Ok(dialect)
    }

    /// Fails if the last comment before the table may be the column names: it has as many cells as the first row, which has none.
    fn check_comment(&self, text: &[u8], whole: bool) -> Result<()> {
        let lines = Self { skip: 0, comment: None, ..*self }.rows(text, whole);
        let is_comment =
            |row: &&csv::ByteRecord| row.get(0).is_some_and(|cell| cell.trim_ascii().starts_with(b"#"));
        let comments: Vec<_> = lines.iter().take_while(is_comment).collect();
        let (Some(last), Some(first)) = (comments.last(), lines.get(comments.len())) else { return Ok(()) };
        let may_be_names = last.len() > 1 && last.len() == first.len() && !names_columns(&texts(first).0);
        ensure!(
            !may_be_names,
            "the line before the first row starts with # and has as many cells, so that it may be a comment or the column names, \
             expected one; try --comment '#', or --header true (with --skip_rows for the lines before it)"
        );
        Ok(())
    }

    /// Returns a reader of rows of this form, without the lines to skip.
    pub fn reader(&self) -> csv::ReaderBuilder {
        let mut builder = csv::ReaderBuilder::new();
        // Only LF ends a row, which allows the reader to count lines. A CR before it is trimmed as white space.
        builder.has_headers(false).flexible(true).terminator(csv::Terminator::Any(b'\n'));
        builder.delimiter(self.delimiter).comment(self.comment);
        builder
    }

    /// Returns the first rows of a text without the lines to skip. The last one is left out unless `start` is the `whole` text.
    pub fn rows(&self, start: &[u8], whole: bool) -> Vec<csv::ByteRecord> {
        let mut rows: Vec<csv::ByteRecord> =
            self.reader().from_reader(start).byte_records().take(ROWS).map_while(Result::ok).collect();
        if !whole && rows.len() < ROWS {
            rows.pop();
        }
        rows.retain(|row| row.iter().any(|cell| !cell.trim_ascii().is_empty()));
        rows
    }
}

/// Returns the delimiter that splits most rows into the same number of cells, more than one; `None` if none does.
fn delimiter(
    text: &[u8],
    whole: bool,
    comment: Option<u8>,
    config: &CsvConfig,
) -> Result<Option<(u8, &'static str)>> {
    let mut candidates = Vec::new();
    for (delimiter, name) in DELIMITERS {
        let rows = Dialect { skip: 0, delimiter, comment }.rows(text, whole);
        let lengths: Vec<usize> = rows.iter().map(csv::ByteRecord::len).collect();
        let most = lengths
            .iter()
            .copied()
            .max_by_key(|&length| lengths.iter().filter(|&&other| other == length).count());
        let same = lengths.iter().filter(|&&length| Some(length) == most).count();
        // A few lines before and after the table may have other lengths.
        if most.is_some_and(|most| most > 1) && 10 * same >= 7 * lengths.len() {
            candidates.push((delimiter, name, understood(&rows, config)));
        }
    }
    if candidates.is_empty() && !text.contains(&b'\n') {
        // Not even the first row is complete: a header of many names.
        let found =
            DELIMITERS.into_iter().filter(|(delimiter, _)| *delimiter != b' ' && text.contains(delimiter));
        candidates.extend(found.map(|(delimiter, name)| (delimiter, name, 0)));
    }
    // Spaces are also in dates, names and numbers.
    if candidates.iter().any(|(delimiter, ..)| *delimiter != b' ') {
        candidates.retain(|(delimiter, ..)| *delimiter != b' ');
    }
    let best = candidates.iter().map(|(.., understood)| *understood).max().unwrap_or(0);
    candidates.retain(|(.., understood)| *understood == best);
    match candidates[..] {
        [] => Ok(None),
        [(delimiter, name, _)] => Ok(Some((delimiter, name))),
        _ => {
            let names: Vec<&str> = candidates.iter().map(|(_, name, _)| *name).collect();
            bail!("the delimiter may be {}, expected one; try --delimiter", names.join(" or "))
        }
    }
}

/// Returns how many per mille of the cells after the first row are numbers, dates or missing values.
fn understood(rows: &[csv::ByteRecord], config: &CsvConfig) -> usize {
    let na = Na::new(&config.na);
    let either = [b'.', b','].map(|decimal| Separators { decimal, certain: true, thousands: None });
    let is_understood = |cell: &[u8]| {
        either.iter().any(|separators| value(cell, separators, &na).is_some())
            || std::str::from_utf8(cell).is_ok_and(TimeReader::is_date)
    };
    let cells: Vec<&[u8]> = rows.iter().skip(1).take(20).flat_map(csv::ByteRecord::iter).take(2000).collect();
    1000 * cells.iter().filter(|cell| is_understood(cell)).count() / cells.len().max(1)
}

/// Recognizes the decimal separator of these columns, by the first rows.
///
/// # Errors
/// Fails if the rows have both separators, or if a comma may be a decimal separator or one of thousands.
pub(super) fn separators(
    rows: &[csv::ByteRecord],
    columns: &[usize],
    config: &CsvConfig,
    notes: &mut Vec<String>,
) -> Result<Separators> {
    let thousands = config.thousands;
    if let Some(decimal) = config.decimal {
        return Ok(Separators { decimal: decimal as u8, certain: true, thousands });
    }
    let mut certain: [Option<&str>; 2] = [None, None];
    let mut comma = None;
    // The cells of many columns need not all be seen.
    let cells =
        rows.iter().flat_map(|row| columns.iter().filter_map(|&column| row.get(column))).take(100_000);
    for cell in cells.filter_map(|cell| std::str::from_utf8(cell).ok()) {
        match evidence(cell) {
            Evidence::Certain(b'.') => certain[0] = certain[0].or(Some(cell)),
            Evidence::Certain(_) => certain[1] = certain[1].or(Some(cell)),
            Evidence::Comma => comma = comma.or(Some(cell)),
            Evidence::Nothing => {}
        }
    }
    let separators = |decimal| Ok(Separators { decimal, certain: true, thousands });
    match (certain, comma, thousands) {
        ([Some(point), Some(comma)], ..) => {
            bail!(
                "found {point:?} and {comma:?}, expected one decimal separator; try --decimal . or --decimal ,"
            )
        }
        ([None, Some(cell)], ..) => {
            notes.push(format!("the decimal separator is a comma, as in {} (--decimal)", cell.trim()));
            separators(b',')
        }
        ([Some(_), None], Some(cell), None) => {
            notes.push(format!(
                "a comma separates groups of three digits, as in {} (--thousands)",
                cell.trim()
            ));
            separators(b'.')
        }
        ([Some(_), None], ..) | (_, _, Some(',')) => separators(b'.'),
        (_, _, Some('.')) => separators(b','),
        (_, Some(cell), _) => {
            bail!(
                "{cell:?} is 1000 times as large if its comma separates thousands, expected one reading; try --decimal , or --thousands ,"
            )
        }
        _ => Ok(Separators { thousands, ..Separators::default() }),
    }
}
