//! One small file of each form, with the values that are expected of it.

use std::io::Write;

use clap::{Args, Command, FromArgMatches};

use super::*;

/// A description, flags, the bytes of a file, and the expected labels, names and values, or parts of an error.
type Form = (&'static str, &'static str, &'static [u8], Result<&'static str, &'static str>);

fn flags(flags: &str) -> CsvConfig {
    let command = CsvConfig::augment_args(Command::new("data").no_binary_name(true));
    let matches = command.try_get_matches_from(flags.split_whitespace()).unwrap();
    CsvConfig::from_arg_matches(&matches).unwrap()
}

/// Reads a file. Returns its labels, names and values as one line.
fn shown(bytes: &[u8], config: &CsvConfig) -> Result<(String, Vec<String>)> {
    let series = parse(bytes, config, Path::new("sales.csv"))?;
    let values = Vec::<f64>::try_from(series.values.flatten(0, -1))?;
    let values: Vec<String> = values.iter().map(f64::to_string).collect();
    let labels = if config.time_column.is_empty() && !series.timestamps.is_date() {
        String::new()
    } else {
        series.timestamps.labels().join(" ")
    };
    Ok((format!("{labels} | {} | {}", series.names.join(" "), values.join(" ")), series.notes))
}

fn check(forms: &[Form]) {
    for (name, given, bytes, expected) in forms {
        match (shown(bytes, &flags(given)), expected) {
            (Ok((found, _)), Ok(expected)) => {
                assert_eq!(found.trim_start_matches(" | "), *expected, "{name}")
            }
            (Err(error), Err(parts)) => {
                let error = format!("{error:#}");
                for part in parts.split(" & ") {
                    assert!(error.contains(part), "{name}: no {part:?} in {error:?}");
                }
            }
            (Ok((found, _)), Err(_)) => panic!("{name}: expected an error, found {found}"),
            (Err(error), Ok(_)) => panic!("{name}: {error:#}"),
        }
    }
}

#[test]
fn file_of_each_delimiter_is_read_or_names_the_flag() {
    check(&[
        ("commas", "", b"a,b\n1,2\n3,4\n", Ok("a b | 1 2 3 4")),
        ("semicolons", "", b"a;b\n1;2\n3;4\n", Ok("a b | 1 2 3 4")),
        ("semicolons and decimal commas", "", b"a;b\n1,5;2\n3,25;4\n", Ok("a b | 1.5 2 3.25 4")),
        ("tabs", "", b"a\tb\n1\t2\n", Ok("a b | 1 2")),
        ("tabs and text with commas", "--value_columns b", b"a\tb\nx, y\t2\n", Ok("b | 2")),
        ("pipes", "", b"a|b\n1|2\n", Ok("a b | 1 2")),
        ("spaces", "", b"a b\n1 2\n", Ok("a b | 1 2")),
        ("a flag", "--delimiter :", b"a:b\n1:2\n", Ok("a b | 1 2")),
        ("a flag with a name", "--delimiter tab", b"a\tb\n1\t2\n", Ok("a b | 1 2")),
        ("a declared semicolon", "", b"sep=;\na;b\n1;2\n", Ok("a b | 1 2")),
        ("two that fit", "", b"x;y|z\nu;v|w\n", Err("--delimiter")),
        ("quoted delimiters", "", b"\"a;b\";c\n1;2\n", Ok("a;b c | 1 2")),
        ("one column", "", b"v\n1\n2\n", Ok("v | 1 2")),
        ("a trailing delimiter", "", b"a,b,\n1,2,\n3,4,\n", Ok("a b | 1 2 3 4")),
    ]);
}

#[test]
fn file_of_each_encoding_and_compression_is_read() {
    check(&[
        ("UTF-8 with a mark", "", b"\xef\xbb\xbfa,b\n1,2\n", Ok("a b | 1 2")),
        ("UTF-16 with a mark", "", b"\xff\xfea\0\n\x001\0\n\0", Ok("a | 1")),
        ("UTF-16, big-endian, with a mark", "", b"\xfe\xff\0a\0\n\x001\0\n", Ok("a | 1")),
        ("UTF-16 without a mark", "", b"a\0,\0b\0\n\x001\0,\x002\0\n\0", Ok("a b | 1 2")),
        ("Latin-1 by a flag", "--encoding latin1", b"Gr\xf6\xdfe\n1\n", Ok("Gr\u{f6}\u{df}e | 1")),
        ("CP1252 in names only", "", b"Gr\xf6\xdfe\n1\n", Ok("Gr\u{f6}\u{df}e | 1")),
        ("CP1252 in a value", "", b"a\n1 \x80\n2\n", Err("row 2 & --encoding cp1252")),
        ("CP1252 in a value, by a flag", "--encoding cp1252", b"a\n1 \x80\n", Ok("a | 1")),
        ("an unknown byte in a date", "--time_column t", b"t,v\n1 M\xe4rz,2\n", Err("row 2 & --encoding")),
        ("CR only", "", b"a,b\r1,2\r3,4\r", Ok("a b | 1 2 3 4")),
        ("CRLF", "", b"a,b\r\n1,2\r\n", Ok("a b | 1 2")),
    ]);
    let text = b"a,b\n1,2\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::stream::encode_all(&text[..], 1).unwrap();
    for (bytes, name) in [(&gzip, "gzip"), (&zstd, "zstd")] {
        let (found, notes) = shown(bytes, &CsvConfig::default()).unwrap();
        assert_eq!(
            (found.as_str(), notes[0].as_str()),
            (" | a b | 1 2", format!("the file is compressed with {name}").as_str())
        );
        let cut = format!("{:#}", shown(&bytes[..bytes.len() - 5], &CsvConfig::default()).unwrap_err());
        assert!(cut.contains("cannot"), "{cut}");
        // A pipe gives a few bytes at a time.
        let series = parse(Trickle(bytes), &CsvConfig::default(), Path::new("-")).unwrap();
        assert_eq!(series.names, ["a", "b"]);
    }
}

/// A pipe that gives one byte at a time.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn number_of_each_form_is_read_or_names_the_flag() {
    check(&[
        ("scientific notation", "", b"v\n1e3\n-2.5E-1\n+.5\n", Ok("v | 1000 -0.25 0.5")),
        ("17 digits", "", b"v\n9007199254740993\n0.1\n", Ok("v | 9007199254740992 0.1")),
        ("groups and a point", "", b"v\n\"1,234,567.8\"\n\"1,234\"\n", Ok("v | 1234567.8 1234")),
        ("groups and a comma", "", b"v;w\n1.234.567,8;1\n1.234;2\n", Ok("v w | 1234567.8 1 1234 2")),
        ("groups alone", "", b"v;w\n1,234;1\n2,345;2\n", Err("--decimal , & --thousands ,")),
        ("groups alone, as decimals", "--decimal ,", b"v;w\n1,234;1\n", Ok("v w | 1.234 1")),
        ("groups alone, as groups", "--thousands ,", b"v;w\n1,234;1\n", Ok("v w | 1234 1")),
        ("both separators", "", b"v;w\n1,5;1\n2.5;2\n", Err("--decimal")),
        ("apostrophes", "", b"v\n1'234'567.5\n", Ok("v | 1234567.5")),
        ("spaces", "", b"v;w\n1 234,5;1\n", Ok("v w | 1234.5 1")),
        ("no-break spaces", "", "v;w\n1\u{a0}234,5;1\u{202f}000\n".as_bytes(), Ok("v w | 1234.5 1000")),
        ("currency signs", "", "v;w\n$1.50;2 \u{20ac}\n-$2;-3 EUR\n".as_bytes(), Ok("v w | 1.5 2 -2 -3")),
        ("percent signs", "", b"v\n12.5%\n-3 %\n", Ok("v | 12.5 -3")),
        ("percent signs in some rows", "", b"v\n12.5%\n3\n", Err("column v & row 2 & row 3 & percent")),
        ("parentheses", "", b"v\n(5)\n\"(1,234.50)\"\n", Ok("v | -5 -1234.5")),
        ("a minus behind", "", b"v\n5-\n", Ok("v | -5")),
        ("a true minus", "", "v\n\u{2212}5\n".as_bytes(), Ok("v | -5")),
        ("quotes", "", b"v,w\n\"1\",\" 2 \"\n", Ok("v w | 1 2")),
        ("infinity", "", b"v\n1\ninf\n", Err("row 3 & inf & finite")),
        ("hexadecimal", "", b"v\n0x10\n", Err("row 2 & 0x10")),
        ("truth values", "", b"v,w\n1,true\n", Err("column w & 1 and 0 & --value_columns")),
        ("a unit behind", "", b"v\n12 kW\n", Err("row 2, column v & 12 kW")),
    ]);
}

#[test]
fn missing_value_of_each_form_is_nan() {
    for text in ["", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None", "-", "--", "?", ".", " NA "] {
        let (found, notes) =
            shown(format!("v,w\n1,2\n{text},4\n").as_bytes(), &CsvConfig::default()).unwrap();
        assert_eq!(found, " | v w | 1 2 NaN 4", "{text:?}");
        assert!(notes.iter().any(|note| note == "missing cells of 2 rows: v 1"), "{notes:?}");
    }
    check(&[
        ("the user's own", "--na -999,x", b"v\n1\n-999\nx\n", Ok("v | 1 NaN NaN")),
        ("no number at all", "", b"v,w\n1,\n2,NA\n", Err("column w: found no number & --value_columns")),
    ]);
}

#[test]
fn line_that_is_no_data_is_left_out_or_names_the_flag() {
    check(&[
        ("comments", "", b"# by a logger\n# of 2024\na,b\n1,2\n", Ok("a b | 1 2")),
        ("comments by a flag", "--comment %", b"% x\na,b\n1,2\n", Ok("a b | 1 2")),
        ("a title", "", b"Report\na,b\n1,2\n3,4\n", Err("--skip_rows 1")),
        ("a title and a blank line", "", b"Report\nof 2024\n\na,b\n1,2\n3,4\n5,6\n", Err("--skip_rows")),
        ("a title with delimiters", "", b"Report,,\n,,\na,b,c\n1,2,3\n", Err("as in row 3 & --skip_rows 2")),
        ("a title, by a flag", "--skip_rows 2", b"Report\nx\na,b\n1,2\n", Ok("a b | 1 2")),
        ("units", "--time_column t", b"t,v\n,kW\n2024-01-01,1\n", Err("row 2 & --units_row")),
        (
            "units of a value",
            "--time_column t",
            b"t,v\n2024-01-01,kW\n2024-01-02,1\n",
            Err("row 2 & --units_row"),
        ),
        (
            "units, by a flag",
            "--units_row --time_column t",
            b"t,v\n,kW\n2024-01-01,1\n",
            Ok("2024-01-01 | v | 1"),
        ),
        (
            "a total",
            "--time_column t",
            b"t,v\n2024-01-01,1\n2024-01-02,1\n2024-01-03,1\nTotal,3\n",
            Err("row 5 & --skip_footer 1"),
        ),
        (
            "a total, without a flag for time",
            "",
            b"t,v\n2024-01-01,1\n2024-01-02,1\n2024-01-03,1\nTotal,3\n",
            Err("row 5 & --skip_footer 1"),
        ),
        ("a total, by a flag", "--skip_footer 1", b"v\n1\n2\n3\n", Ok("v | 1 2")),
        ("blank lines at the end", "", b"a,b\n1,2\n\n\n", Ok("a b | 1 2")),
        ("a row with other cells", "", b"a,b\n1,2\n3\n", Err("row 3: found 1 cell, expected 2")),
    ]);
}

#[test]
fn column_of_each_kind_is_chosen_or_names_the_flag() {
    check(&[
        ("an index of pandas", "", b",a\n0,5\n1,6\n", Ok("a | 5 6")),
        ("an index of pandas with a name", "", b"Unnamed: 0,a\n0,5\n1,6\n", Ok("a | 5 6")),
        ("an index by a flag", "--value_columns 0,a", b",a\n0,5\n1,6\n", Ok("0 a | 0 5 1 6")),
        ("a running number with a name", "", b"index,a\n0,5\n1,6\n", Ok("index a | 0 5 1 6")),
        ("no running number", "", b",a\n0,5\n2,6\n", Err("no name & --value_columns")),
        ("no running number as values", "--value_columns 0,a", b",a\n0,5\n2,6\n", Ok("0 a | 0 5 2 6")),
        ("an index above names that are numbers", "", b",0\n0,1.5\n1,2.5\n", Ok("0 | 1.5 2.5")),
        (
            "a decimal comma without quotes",
            "",
            b"date,v\n2024-01-01,1,5\n2024-01-02,2,5\n",
            Err("found 3 cells"),
        ),
        ("dates without separators", "", b"date,v\n20240131,5\n20240201,6\n", Err("--time_column date")),
        ("years and months", "", b"year,month,v\n2023,12,5\n2024,1,6\n", Err("--time_column year")),
        ("names that are years", "", b"date,2023,2024\n2024-01-01,5,6\n", Err("--header true")),
        ("currencies", "", b"v\n$5\n5 \xe2\x82\xac\n", Err("row 3 & found \u{20ac}, expected $ as in row 2")),
        ("a comment that may be the names", "", b"#t,v\n1,2\n3,4\n", Err("--comment '#' & --header true")),
        ("a comment as names", "--header true", b"#t,v\n1,2\n3,4\n", Ok("#t v | 1 2 3 4")),
        ("missing numbers", "--na -999", b"v\n5\n-999.0\n", Ok("v | 5 NaN")),
        ("row names of R", "", b"\"a\",\"b\"\n\"1\",5,6\n\"2\",7,8\n", Ok("a b | 5 6 7 8")),
        ("an index of dates", "", b",a\n2024-01-01,5\n2024-01-02,6\n", Ok("2024-01-01 2024-01-02 | a | 5 6")),
        (
            "one column of dates",
            "",
            b"a,t\n5,2024-01-01\n6,2024-01-02\n",
            Ok("2024-01-01 2024-01-02 | a | 5 6"),
        ),
        (
            "a date and a time of day",
            "",
            b"d,h,a\n2024-01-01,22:00,5\n2024-01-01,23:00,6\n",
            Ok("2024-01-01 22:00 2024-01-01 23:00 | a | 5 6"),
        ),
        ("two columns of dates", "", b"t,u,a\n2024-01-01,2024-01-01,5\n", Err("--time_column t")),
        (
            "year and month",
            "--time_column year,month",
            b"year,month,a\n2023,12,5\n2024,1,6\n",
            Ok("2023 12 2024 1 | a | 5 6"),
        ),
        ("a column of text", "", b"shop,a,b\nnorth,5,6\n", Err("column shop & north & --value_columns a,b")),
        ("a column of text with commas", "", b"a,shop\n5,\"x, y\"\n", Err("column shop & --value_columns a")),
        ("two of one name", "--value_columns a", b"a,a\n1,2\n", Err("columns 0 and 1 are both named a")),
        ("numbers as names", "--header true", b"2023,2024\n1,2\n", Ok("2023 2024 | 1 2")),
        ("no header", "", b"1,2\n3,4\n", Ok("0 1 | 1 2 3 4")),
        ("an unknown column", "--time_column x", b"a,b\n1,2\n", Err("--time_column & no column x & a, b")),
    ]);
}

#[test]
fn running_number_that_ends_below_the_sample_is_an_error() {
    let rows: String = (0..300).map(|row| format!("{row},5\n")).collect();
    let error = shown(format!(",a\n{rows}999,5\n").as_bytes(), &CsvConfig::default()).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("row 302") && error.contains("--value_columns"), "{error}");
}

#[test]
fn notes_are_silent_about_certain_points_and_name_unused_missing_values() {
    for text in ["v\n1.234\n1.5\n", "v\n1.234\n0.125\n", "v\n1.234\n1234\n", "v,w\n1.234,0.5\n"] {
        let (_, notes) = shown(text.as_bytes(), &CsvConfig::default()).unwrap();
        assert!(!notes.join("\n").contains("--thousands"), "{text:?}: {notes:?}");
    }
    let unused = |text: &str| shown(text.as_bytes(), &flags("--na=-999")).unwrap().1.join("\n");
    assert!(unused("v\n1\n-99\n").contains("no cell is -999 (--na)"));
    assert!(!unused("v\n1\n-999.0\n").contains("--na"));
}

#[test]
fn file_of_another_kind_is_named_in_the_error() {
    check(&[
        ("old Excel", "", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Err(".xls workbook")),
        ("PDF", "", b"%PDF-1.7\n", Err("PDF")),
        ("HTML", "", b"<!DOCTYPE html>\n<html>", Err("HTML")),
        ("JSON", "", b"[{\"a\": 1}]", Err("JSON")),
        ("bzip2", "", b"BZh91AY", Err("bzip2")),
        ("nothing", "", b"", Err("empty")),
        ("a header alone", "", b"a,b\n", Err("no row")),
        ("a sheet of a text", "--sheet x", b"a\n1\n", Err("--sheet has no effect on a text file")),
    ]);
}

#[test]
fn notes_name_what_was_recognized_and_its_flag() {
    let notes = |text: &str| shown(text.as_bytes(), &CsvConfig::default()).unwrap().1.join("\n");
    for (text, parts) in [
        (
            "# x\na;b\n1,5;2\n",
            &["--comment", "delimiter is ; (--delimiter)", "comma, as in 1,5 (--decimal)"][..],
        ),
        (",a\n0,5\n1,6\n", &["running number without a name (--value_columns)"]),
        ("t,a\n2024-01-01,5\n", &["column t has dates", "--time_column"]),
        ("d,h,a\n2024-01-01,22:00,5\n", &["columns d, h have dates and times of day"]),
        (",a\n2024-01-01,5\n", &["column 0 has dates"]),
        ("v\n5%\n", &["values of v are in percent"]),
        ("v;w\n1.234;5\n12.345;6\n", &["three digits after it in v", "try --thousands ."]),
        ("v\n\"1,234.5\"\n\"1,000\"\n", &["groups of three digits", "--thousands"]),
    ] {
        let notes = notes(text);
        assert!(parts.iter().all(|part| notes.contains(part)), "{text:?}: {notes}");
    }
}
