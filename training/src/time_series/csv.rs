//! Reads series from CSV files.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Columns, Series, Timestamps};
use crate::format::count;

/// The CSV file of a series, and the columns to read.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvConfig {
    /// Read this CSV file.
    #[arg(long = "csv", value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Read the timestamps from this column: a name, or a number from 0 [default: row numbers are the timestamps].
    #[arg(long = "time_column")]
    pub time_column: Option<String>,
    /// Read the values from these columns: names, or numbers from 0 [default: all except --time_column].
    #[arg(long = "value_columns", value_delimiter = ',')]
    pub value_columns: Vec<String>,
    /// Read the column names from the first row [default: true, unless it has a number or a date].
    #[arg(long = "header", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub header: Option<bool>,
}

impl CsvConfig {
    /// The flags that a resumed run may change: the same content may be at another path.
    pub const FREE: &[&str] = &["csv"];
}

/// Reads the columns of `config` from its file as a series, `[rows, columns]`.
///
/// # Errors
/// Fails if the file cannot be opened, or if a column of `config` is not in it. Also fails with the row and the column if a cell
/// is empty or not a finite number, if a timestamp is neither a number nor a date or is not later than the one above it, or if a
/// row has another number of cells than the first. Rows are counted from 1, like the lines in an editor.
pub fn read(config: &CsvConfig) -> Result<Series> {
    read_for(config, None)
}

/// Reads a series like [`read`], with the columns of a trained model, in its order. The file may have more columns.
///
/// # Errors
/// Fails like [`read`], and if the file lacks a column of the model.
pub fn read_for(config: &CsvConfig, model: Option<&Columns>) -> Result<Series> {
    let path = config.csv.as_deref().context("cannot read a series: --csv is missing; try --csv FILE")?;
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    parse_for(file, config, path, model).with_context(|| format!("cannot read {}", path.display()))
}

/// Reads a series like [`read`], from any reader. `path` gives a single column its name if the file has no header.
///
/// # Errors
/// Fails like [`read`].
pub fn parse(input: impl Read, config: &CsvConfig, path: &Path) -> Result<Series> {
    parse_for(input, config, path, None)
}

fn parse_for(input: impl Read, config: &CsvConfig, path: &Path, model: Option<&Columns>) -> Result<Series> {
    let mut rows = Rows::new(input);
    let first = rows.next()?.context("the file is empty, expected rows of numbers")?;
    let header = config.header.unwrap_or_else(|| names_columns(&first.cells));
    let names: Vec<String> = first
        .cells
        .iter()
        .enumerate()
        .map(|(column, cell)| match cell {
            name if header && !name.is_empty() => name.to_owned(),
            _ if !header && first.cells.len() == 1 => {
                path.file_stem().map_or_else(|| "value".into(), |stem| stem.to_string_lossy().into_owned())
            }
            _ => column.to_string(),
        })
        .collect();
    let (time_column, mut columns) = choose(config, &names)?;
    if let Some(model) = model {
        let found: Vec<&str> = columns.iter().map(|&column| names[column].as_str()).collect();
        columns = model.find(&found, header)?.into_iter().map(|found| columns[found]).collect();
    }

    let (mut labels, mut values) = (Vec::<String>::new(), Vec::new());
    let mut time: Option<Timestamps> = None;
    let mut next = if header { rows.next()? } else { Some(first) };
    while let Some(Row { line, cells }) = next {
        ensure!(
            cells.len() == names.len(),
            "row {line}: found {}, expected {} as in the first row",
            count(cells.len() as u64, "cell"),
            names.len()
        );
        for &column in &columns {
            values.push(number(&cells[column], line, &names[column])?);
        }
        labels.push(match time_column {
            Some(column) => {
                push(&mut time, &cells[column]).map_err(|problem| {
                    anyhow!("row {line}, column {}: {:?} {problem}", names[column], &cells[column])
                })?;
                cells[column].to_owned()
            }
            None => labels.len().to_string(),
        });
        next = rows.next()?;
    }
    ensure!(!labels.is_empty(), "found no row of values, expected at least one");
    let names = columns.iter().map(|&column| names[column].clone()).collect();
    let values = Tensor::from_slice(&values).view([-1, columns.len() as i64]);
    let timestamps = time.unwrap_or_else(|| Timestamps::counted(labels.len()));
    let season = timestamps.season();
    Ok(Series { time: labels, timestamps, names, named: header, values, season })
}

/// The cells of one row.
struct Row {
    /// The line on which the row begins, from 1.
    line: u64,
    cells: csv::StringRecord,
}

/// The rows that are not blank, with their line numbers.
struct Rows<R> {
    reader: csv::Reader<R>,
    begun: bool,
}

impl<R: Read> Rows<io::Chain<R, &'static [u8]>> {
    fn new(input: R) -> Self {
        // Only LF ends a row, which allows the reader to count lines. A CR before it is trimmed as white space.
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .terminator(csv::Terminator::Any(b'\n'))
            .trim(csv::Trim::All)
            .from_reader(input.chain(&b"\n"[..]));
        Self { reader, begun: false }
    }

    fn next(&mut self) -> Result<Option<Row>> {
        let mut cells = csv::StringRecord::new();
        let mut gap = None;
        loop {
            let before = self.reader.position().clone();
            if !self.reader.read_record(&mut cells).context("cannot split a row into cells")? {
                return Ok(None);
            }
            let after = self.reader.position();
            let inside = cells.iter().flat_map(str::bytes).filter(|&byte| byte == b'\n').count() as u64;
            // The csv crate skips empty lines, but not lines with only a CR, which are one byte longer.
            let passed = (after.line() - before.line()).saturating_sub(1 + inside);
            let line = before.line() + passed;
            let blank = after.byte() - before.byte() - passed <= 2 && cells.iter().eq([""]);
            if passed > 0 || blank {
                gap.get_or_insert(before.line());
            }
            if blank {
                continue;
            }
            if let (Some(gap), 1, true) = (gap, cells.len(), self.begun) {
                bail!("row {gap} is blank, expected a value in each row of a file with one column");
            }
            self.begun = true;
            return Ok(Some(Row { line, cells }));
        }
    }
}

/// Returns whether a first row has the column names: it has text, and no cell is a number or a date.
fn names_columns(cells: &csv::StringRecord) -> bool {
    let is_value = |cell: &str| cell.parse::<f64>().is_ok() || Timestamps::like(cell).is_some();
    cells.iter().any(|cell| !cell.is_empty()) && !cells.iter().any(is_value)
}

/// Returns the index of the time column and the indices of the value columns.
fn choose(config: &CsvConfig, names: &[String]) -> Result<(Option<usize>, Vec<usize>)> {
    let find = |flag: &str, wanted: &str| -> Result<usize> {
        let mut named =
            names.iter().enumerate().filter(|(_, name)| *name == wanted).map(|(column, _)| column);
        match (named.next(), named.next()) {
            (Some(column), None) => Ok(column),
            (Some(one), Some(other)) => {
                bail!(
                    "--{flag}: columns {one} and {other} are both named {wanted}; try the number of one of them"
                )
            }
            _ => wanted.parse().ok().filter(|&index| index < names.len()).with_context(|| {
                format!("--{flag}: found no column {wanted}, expected one of {}", names.join(", "))
            }),
        }
    };
    let time = config.time_column.as_deref().map(|name| find("time_column", name)).transpose()?;
    let columns: Vec<usize> = if config.value_columns.is_empty() {
        (0..names.len()).filter(|&column| Some(column) != time).collect()
    } else {
        config.value_columns.iter().map(|name| find("value_columns", name)).collect::<Result<_>>()?
    };
    ensure!(!columns.is_empty(), "found no column of values, expected at least one besides the time column");
    for (at, column) in columns.iter().enumerate() {
        ensure!(
            Some(*column) != time,
            "--value_columns: column {} is the --time_column, expected another",
            names[*column]
        );
        ensure!(
            !columns[..at].contains(column),
            "--value_columns: column {} is listed twice, expected once",
            names[*column]
        );
    }
    Ok((time, columns))
}

/// Reads the value of a cell in single precision.
fn number(cell: &str, line: u64, column: &str) -> Result<f32> {
    ensure!(
        !cell.is_empty(),
        "row {line}, column {column}: the cell is empty, expected a number; fill it or remove the row"
    );
    match cell.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => {
            let hint = match (line, Timestamps::like(cell)) {
                (_, Some(Timestamps::Dates { .. })) => {
                    format!("; if it is a timestamp, try --time_column {column}")
                }
                (1, _) => "; if the first row has the column names, try --header true".to_owned(),
                _ => String::new(),
            };
            bail!("row {line}, column {column}: found {cell:?}, expected a finite number{hint}")
        }
    }
}

/// Appends the timestamp `cell`. The intervals may differ, because windows count rows.
fn push(time: &mut Option<Timestamps>, cell: &str) -> Result<(), String> {
    match time {
        Some(time) => time.push(cell),
        None => {
            let first = Timestamps::like(cell).ok_or(
                "is neither a number nor a date, expected for example 2024-12-31, 2024-12-31 23:59:00 or 2024-12; try one of \
                 these forms, or only --value_columns without --time_column, so that row numbers are the timestamps",
            )?;
            time.insert(first).push(cell)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(time: Option<&str>, values: &[&str]) -> CsvConfig {
        let value_columns = values.iter().map(ToString::to_string).collect();
        CsvConfig { time_column: time.map(str::to_owned), value_columns, ..CsvConfig::default() }
    }

    fn parsed(text: &str, config: &CsvConfig) -> Result<Series> {
        parse(text.as_bytes(), config, Path::new("sales.csv"))
    }

    /// A description, the text of the file, the flags, and the expected names and values.
    type Case = (&'static str, &'static str, CsvConfig, &'static [&'static str], &'static [f32]);

    #[test]
    fn parse_of_each_form_of_file_reads_names_and_values() {
        let cases: [Case; 14] = [
            ("header", "v\n1\n2\n", config(None, &[]), &["v"], &[1.0, 2.0]),
            ("no header", "1\n2\n", config(None, &[]), &["sales"], &[1.0, 2.0]),
            ("CRLF and no last newline", "v\r\n1\r\n2", config(None, &[]), &["v"], &[1.0, 2.0]),
            ("byte-order mark", "\u{feff}t,v\n1,5\n", config(Some("t"), &[]), &["v"], &[5.0]),
            ("byte-order mark and no header", "\u{feff}1\n2\n", config(None, &[]), &["sales"], &[1.0, 2.0]),
            (
                "dates and no header",
                "2020-01-01,5\n2020-01-02,6\n",
                config(Some("0"), &[]),
                &["1"],
                &[5.0, 6.0],
            ),
            ("unnamed first column", ",v\n0,5\n1,6\n", config(Some("0"), &[]), &["v"], &[5.0, 6.0]),
            ("blank lines at the end", "v\n1\n\n\n", config(None, &[]), &["v"], &[1.0]),
            ("blank CRLF lines at the end", "v\r\n1\r\n\r\n", config(None, &[]), &["v"], &[1.0]),
            (
                "blank lines between rows of two cells",
                "t,v\n\n1,5\n\n2,6\n",
                config(Some("t"), &[]),
                &["v"],
                &[5.0, 6.0],
            ),
            ("LF and CRLF", "v\r\n1\n2\r\n3\n", config(None, &[]), &["v"], &[1.0, 2.0, 3.0]),
            ("quotes", "\"a, b\",c\n\"1\",2\n", config(None, &["a, b"]), &["a, b"], &[1.0]),
            ("columns by number", "t,v,w\n1,5,6\n", config(Some("0"), &["2"]), &["w"], &[6.0]),
            (
                "several columns",
                "d,v,w\n2020-01-01,5,6\n2020-01-03,7,8\n",
                config(Some("d"), &[]),
                &["v", "w"],
                &[5.0, 6.0, 7.0, 8.0],
            ),
        ];
        for (name, text, config, names, values) in cases {
            let series = parsed(text, &config).unwrap_or_else(|error| panic!("{name}: {error:#}"));
            assert_eq!(series.names, names, "{name}");
            assert_eq!(Vec::<f32>::try_from(series.values.view(-1)).unwrap(), values, "{name}");
            assert_eq!(series.len(), values.len() / names.len(), "{name}");
        }
    }

    #[test]
    fn parse_of_unusable_file_is_an_error_with_row_and_column() {
        let plain = config(None, &[]);
        let timed = config(Some("t"), &[]);
        let cases: &[(&str, &CsvConfig, &[&str])] = &[
            ("", &plain, &["empty"]),
            ("v\n", &plain, &["no row"]),
            ("t,v\n1,2\n2,\n", &timed, &["row 3", "column v", "empty"]),
            ("t,v\n1,2\n2,x\n", &timed, &["row 3", "column v", "\"x\""]),
            ("v\n1\nNaN\n", &plain, &["row 3", "NaN"]),
            ("v\n1\ninf\n", &plain, &["row 3", "inf"]),
            ("v\n1e99\n", &plain, &["row 2", "1e99"]),
            ("t,v\n1,2\n1,3\n", &timed, &["row 3", "column t", "same timestamp"]),
            ("t,v\n10,2\n9,3\n", &timed, &["row 3", "column t", "\"9\" is earlier", "sort"]),
            ("t,v\n,2\n", &timed, &["row 2", "column t", "\"\" is neither"]),
            ("t,v\ninf,2\n", &timed, &["row 2", "column t", "\"inf\" is neither"]),
            ("t,v\n1,2\n,3\n", &timed, &["row 3", "column t", "not a number"]),
            ("t,v\n12/31/2019,2\n01/01/2020,3\n", &timed, &["row 2", "12/31/2019", "2024-12-31"]),
            ("t,v\n2020-01-31,2\n2020-02-30,3\n", &timed, &["row 3", "2020-02-30", "not a date"]),
            ("t,v\n2020-01-31,2\n", &plain, &["row 2", "column t", "--time_column t"]),
            ("id,2020\n1,2\n", &plain, &["row 1", "\"id\"", "--header true"]),
            ("t,v\n1,2\n2,3,4\n", &timed, &["row 3: found 3 cells, expected 2"]),
            ("t,v\r\n1,2\r\n2\r\n", &timed, &["row 3: found 1 cell, expected 2"]),
            ("v\n1\n\n3\n", &plain, &["row 3 is blank"]),
            ("v\r\n1\r\n\r\n3", &plain, &["row 3 is blank"]),
            ("v\n1\n\"\"\n", &plain, &["row 3", "empty"]),
            ("v\r\n1\r\nx\r\n", &plain, &["row 3", "\"x\""]),
            ("t,\"a\nb\"\n\n1,2\n2,x\n", &plain, &["row 5", "\"x\""]),
            ("t,v\n1,2\n", &config(Some("t"), &["t"]), &["column t is the --time_column"]),
            ("t,v\n1,2\n", &config(None, &["v", "1"]), &["column v is listed twice"]),
            ("v,v\n1,2\n", &config(None, &["v"]), &["columns 0 and 1 are both named v"]),
            ("t,v\n1,2\n", &config(Some("u"), &[]), &["--time_column", "no column u", "t, v"]),
            ("t,v\n1,2\n", &config(None, &["w"]), &["--value_columns", "no column w"]),
            ("t\n1\n", &timed, &["no column of values"]),
        ];
        for (text, config, expected) in cases {
            let error = format!("{:#}", parsed(text, config).unwrap_err());
            for part in *expected {
                assert!(error.contains(part), "{text:?}: no {part:?} in {error:?}");
            }
        }
    }

    #[test]
    fn parse_of_damaged_file_returns_finite_values_or_an_error() {
        let seed = b"\xef\xbb\xbft,\"v,w\"\r\n1,2.5\r\n2,-3e4\r\n3,\"4\"\r\n".to_vec();
        let mut random = text_recognizer::rng::Stream::new(1);
        for _ in 0..20_000 {
            let mut bytes = seed.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len() as u64) as usize;
                match random.below(3) {
                    0 => bytes[at] = random.next_u64() as u8,
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, b",\"\n\r\0-9e"[random.below(8) as usize]),
                }
            }
            if let Ok(series) = parse(&bytes[..], &config(Some("0"), &[]), Path::new("x.csv")) {
                assert!(bool::try_from(series.values.isfinite().all()).unwrap());
            }
        }
    }
}
