//! Series from CSV files.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::Series;

/// Which file, and what in it.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvConfig {
    /// File to read.
    #[arg(long = "csv", value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Column of the times, by name or by number from 0 [default: rows are counted].
    #[arg(long = "time_column")]
    pub time_column: Option<String>,
    /// Columns of the values, by name or by number from 0 [default: all but the time].
    #[arg(long = "value_columns", value_delimiter = ',')]
    pub value_columns: Vec<String>,
    /// Whether the first row names the columns [default: yes, unless all of it are numbers].
    #[arg(long = "header", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub header: Option<bool>,
}

/// Reads the series that `config` describes.
///
/// # Errors
/// Says row (counted as an editor counts lines where no quoted cell spans several) and column of what cannot be used: a
/// missing cell, something that is not a finite number, times that repeat or go back, a row of another length.
pub fn read(config: &CsvConfig) -> Result<Series> {
    let path = config.csv.as_deref().context("--csv FILE is missing: it names the file to read")?;
    let file = std::fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
    parse(file, config, path).with_context(|| format!("reading {}", path.display()))
}

/// As [`read`], from anything that can be read; `path` is only what the single value column is called by.
///
/// # Errors
/// As [`read`].
pub fn parse(input: impl Read, config: &CsvConfig, path: &Path) -> Result<Series> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(input);
    let mut rows = reader.records().map(|row| row.context("a row cannot be split into cells")).peekable();
    let first = match rows.peek() {
        Some(Ok(first)) => first.clone(),
        Some(Err(_)) => csv::StringRecord::new(),
        None => bail!("the file is empty"),
    };
    // A byte-order mark is no part of the first name.
    let cell = |cell: &str| cell.trim_start_matches('\u{feff}').trim().to_owned();
    let header = config
        .header
        .unwrap_or_else(|| first.iter().any(|c| cell(c).parse::<f64>().is_err() && !cell(c).is_empty()));
    let names: Vec<String> = if header {
        rows.next();
        first.iter().map(cell).collect()
    } else if first.len() == 1 {
        vec![path.file_stem().map_or_else(|| "value".into(), |stem| stem.to_string_lossy().into_owned())]
    } else {
        (0..first.len()).map(|column| column.to_string()).collect()
    };
    let find = |flag: &str, wanted: &str| -> Result<usize> {
        let by_name = names.iter().position(|name| name == wanted);
        by_name
            .or_else(|| wanted.parse().ok().filter(|&index| index < names.len()))
            .with_context(|| format!("--{flag}: there is no column {wanted}; there are {}", names.join(", ")))
    };
    let time_column = config.time_column.as_deref().map(|name| find("time_column", name)).transpose()?;
    let columns: Vec<usize> = if config.value_columns.is_empty() {
        (0..names.len()).filter(|&column| Some(column) != time_column).collect()
    } else {
        config.value_columns.iter().map(|name| find("value_columns", name)).collect::<Result<_>>()?
    };
    ensure!(!columns.is_empty(), "there is no column of values");

    let (mut time, mut values) = (Vec::<String>::new(), Vec::new());
    for row in rows {
        let row = row?;
        let line = row.position().map_or(0, csv::Position::line);
        for &column in &columns {
            values.push(number(row.get(column).map(cell).as_deref(), line, &names[column])?);
        }
        let label = match time_column {
            Some(column) => row.get(column).map(cell).unwrap_or_default(),
            None => time.len().to_string(),
        };
        if let (Some(column), Some(before)) = (time_column, time.last()) {
            check_order(before, &label, line, &names[column])?;
        }
        time.push(label);
    }
    ensure!(!time.is_empty(), "there is no row of values");
    let names = columns.iter().map(|&column| names[column].clone()).collect();
    let values = Tensor::from_slice(&values).view([-1, columns.len() as i64]);
    Ok(Series { time, names, values })
}

fn number(cell: Option<&str>, line: u64, column: &str) -> Result<f32> {
    let cell = cell.unwrap_or_default();
    ensure!(!cell.is_empty(), "row {line}, column {column}: the cell is empty; fill it or leave the row out");
    match cell.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => bail!("row {line}, column {column}: {cell:?} is not a finite number"),
    }
}

/// Times are numbers, or text such as ISO 8601 dates whose alphabetical order is that of time. Gaps may differ: a window
/// counts rows.
fn check_order(before: &str, now: &str, line: u64, column: &str) -> Result<()> {
    let order = match (before.parse::<f64>(), now.parse::<f64>()) {
        (Ok(before), Ok(now)) => before.partial_cmp(&now),
        _ => Some(before.cmp(now)),
    };
    match order {
        Some(std::cmp::Ordering::Less) => Ok(()),
        Some(std::cmp::Ordering::Equal) => {
            bail!("row {line}, column {column}: the time {now} is there twice")
        }
        _ => bail!("row {line}, column {column}: the time {now} comes after {before}; sort the rows by time"),
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

    /// What it is, the text, the flags, and the names and values that are read.
    type Case = (&'static str, &'static str, CsvConfig, &'static [&'static str], &'static [f32]);

    #[test]
    fn what_files_look_like() {
        let cases: [Case; 8] = [
            ("a header", "v\n1\n2\n", config(None, &[]), &["v"], &[1.0, 2.0]),
            ("none", "1\n2\n", config(None, &[]), &["sales"], &[1.0, 2.0]),
            ("CRLF and no last newline", "v\r\n1\r\n2", config(None, &[]), &["v"], &[1.0, 2.0]),
            ("a byte-order mark", "\u{feff}t,v\n1,5\n", config(Some("t"), &[]), &["v"], &[5.0]),
            ("a byte-order mark and no header", "\u{feff}1\n2\n", config(None, &[]), &["sales"], &[1.0, 2.0]),
            ("quotes", "\"a, b\",c\n\"1\",2\n", config(None, &["a, b"]), &["a, b"], &[1.0]),
            ("by number", "t,v,w\n1,5,6\n", config(Some("0"), &["2"]), &["w"], &[6.0]),
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
    fn what_cannot_be_used_is_said_with_row_and_column() {
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
            ("t,v\n1,2\n1,3\n", &timed, &["row 3", "column t", "twice"]),
            ("t,v\n10,2\n9,3\n", &timed, &["row 3", "9 comes after 10", "sort"]),
            ("t,v\n1,2\n2,3,4\n", &timed, &["3"]),
            ("t,v\n1,2\n", &config(Some("u"), &[]), &["--time_column", "no column u", "t, v"]),
            ("t,v\n1,2\n", &config(None, &["w"]), &["--value_columns", "no column w"]),
            ("t\n1\n", &timed, &["no column of values"]),
        ];
        for (text, config, expected) in cases {
            let error = format!("{:#}", parsed(text, config).unwrap_err());
            for part in *expected {
                assert!(error.contains(part), "{text:?}: {error:?} does not say {part}");
            }
        }
    }

    /// 20,000 damaged files: each is read or refused, none brings the program down.
    #[test]
    fn damaged_files_never_panic() {
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
