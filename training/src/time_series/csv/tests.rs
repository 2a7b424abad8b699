//! Tests of the reader of CSV files.

use super::*;

mod forms;
mod many;
mod roles;

fn config(time: Option<&str>, values: &[&str]) -> CsvConfig {
    let value_columns = values.iter().map(ToString::to_string).collect();
    CsvConfig {
        time_column: time.into_iter().map(str::to_owned).collect(),
        value_columns,
        ..CsvConfig::default()
    }
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
        ("dates and no header", "2020-01-01,5\n2020-01-02,6\n", config(Some("0"), &[]), &["1"], &[5.0, 6.0]),
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
        ("t,v\n1,2\n2,x\n", &timed, &["row 3", "column v", "\"x\"", "--na"]),
        ("v\n1\ninf\n", &plain, &["row 3", "inf"]),
        ("v\n1e999\n", &plain, &["row 2", "1e999"]),
        ("v\nNaN\nNaN\n", &plain, &["column v: found no number"]),
        ("t,v\n1,2\n1,3\n", &timed, &["row 3", "same timestamp", "--duplicates"]),
        ("t,v\n9,2\n11,3\n10,3\n", &timed, &["row 4", "10 is earlier than 11", "--sort"]),
        ("t,v\n,2\n", &timed, &["row 2", "column t", "is empty"]),
        ("t,v\ninf,2\n", &timed, &["row 2", "column t", "\"inf\" is neither"]),
        ("t,v\n1,2\nx,3\n", &timed, &["row 3", "column t", "not a number"]),
        ("t,v\n2020-01-31,2\n2020-02-30,3\n", &timed, &["row 3", "2020-02-30", "no date of the calendar"]),
        ("id,2020\n1,2\n", &plain, &["row 1", "\"id\"", "--header true"]),
        ("t,v\n1,2\n2,3,4\n", &timed, &["row 3: found 3 cells, expected 2"]),
        ("t,v\r\n1,2\r\n2\r\n", &timed, &["row 3: found 1 cell, expected 2"]),
        ("v\n1\n\n3\n", &plain, &["row 3 is blank"]),
        ("v\r\n1\r\n\r\n3", &plain, &["row 3 is blank"]),
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
            assert!(!bool::try_from(series.values.isinf().any()).unwrap());
        }
    }
}

#[test]
fn parse_of_other_bytes_or_a_folder_is_an_error() {
    let error = parse(&b"v\n1\n\xff\n"[..], &config(None, &[]), Path::new("x.csv")).unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "row 3, column v: found bytes that are not UTF-8, expected a number; try --encoding cp1252"
    );
    let folder = tempfile::tempdir().unwrap();
    let folder = CsvConfig { csv: Some(folder.path().to_owned()), ..CsvConfig::default() };
    let error = format!("{:#}", read(&folder).unwrap_err());
    assert!(error.contains("it is a folder, expected a file"), "{error}");
}

#[test]
fn parse_of_a_row_without_end_is_an_error_in_bounded_memory() {
    for (byte, part) in [(&b"\0"[..], "no end of the row"), (b",", "no end of the row"), (b"\"\n", "no end")]
    {
        let endless = std::iter::once(byte[0]).chain(byte[byte.len() - 1..].iter().copied().cycle());
        let error = parse(Endless(endless), &config(None, &[]), Path::new("zero")).unwrap_err();
        assert!(format!("{error:#}").contains(part), "{error:#}");
    }
    let commas = vec![b','; 1 << 21];
    let error = parse(&commas[..], &config(None, &[]), Path::new("commas")).unwrap_err();
    assert!(
        format!("{error:#}").contains("row 1: found 2097153 cells, expected at most 1048576"),
        "{error:#}"
    );
}

/// A file that never ends.
struct Endless<I>(I);

impl<I: Iterator<Item = u8>> Read for Endless<I> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        buffer.iter_mut().zip(&mut self.0).for_each(|(place, byte)| *place = byte);
        Ok(buffer.len())
    }
}

/// A search in all names for each name would take minutes.
#[test]
fn parse_of_many_columns_is_linear_and_its_errors_are_short() {
    let names: Vec<String> = (0..400_000).map(|column| format!("c{column}")).collect();
    let text = format!("{}\n{}1\n", names.join(","), "1,".repeat(names.len() - 1));
    assert_eq!(parsed(&text, &config(None, &[])).unwrap().names.len(), names.len());
    let chosen = CsvConfig { value_columns: names.clone(), ..CsvConfig::default() };
    assert_eq!(parsed(&text, &chosen).unwrap().names, names);
    let error = format!("{:#}", parsed(&text, &config(None, &["nope"])).unwrap_err());
    assert!(error.contains("c19, ... and 399980 more") && error.len() < 300, "{error}");
}
