//! Tests of files with typed cells.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::Compression;
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use anyhow::Result;

use crate::time_series::csv::{CsvConfig, parse};

/// The names, the timestamps, the values and the notes of a file.
type Read = (Vec<String>, Vec<String>, Vec<f64>, Vec<String>);

fn read(bytes: &[u8], config: &CsvConfig) -> Result<Read> {
    let series = parse(bytes, config, Path::new("x"))?;
    let values = Vec::<f64>::try_from(series.values.flatten(0, -1))?;
    Ok((series.names.clone(), series.timestamps.labels(), values, series.notes))
}

fn error(bytes: &[u8], config: &CsvConfig) -> String {
    format!("{:#}", read(bytes, config).unwrap_err())
}

/// The values of a column of a Parquet file.
#[derive(Clone)]
enum Values<'a> {
    Int(&'a [i64]),
    Short(&'a [i32]),
    Double(&'a [f64]),
    Float(&'a [f32]),
    Bool(&'a [bool]),
    Text(&'a [&'a str]),
}

/// The values of a column that are not missing, and for each row 1, or 0 if it is missing.
type Column<'a> = (Values<'a>, Option<&'a [i16]>);

/// Writes each of `groups` as a row group.
fn parquet_file(schema: &str, compression: Compression, groups: &[&[Column]]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, schema, properties).unwrap();
    for columns in groups {
        let mut group = file.next_row_group().unwrap();
        for (values, levels) in *columns {
            let mut column = group.next_column().unwrap().unwrap();
            match values {
                Values::Int(values) => column.typed::<Int64Type>().write_batch(values, *levels, None),
                Values::Short(values) => column.typed::<Int32Type>().write_batch(values, *levels, None),
                Values::Double(values) => column.typed::<DoubleType>().write_batch(values, *levels, None),
                Values::Float(values) => column.typed::<FloatType>().write_batch(values, *levels, None),
                Values::Bool(values) => column.typed::<BoolType>().write_batch(values, *levels, None),
                Values::Text(values) => {
                    let values: Vec<ByteArray> = values.iter().map(|&text| text.into()).collect();
                    column.typed::<ByteArrayType>().write_batch(&values, *levels, None)
                }
            }
            .unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    file.close().unwrap();
    bytes
}

const DAY: i64 = 86_400_000_000;

/// A schema, its columns, and the expected timestamps and values.
type Case<'a> = (&'a str, &'a [Column<'a>], [&'a str; 2], [f64; 2]);

#[test]
fn parquet_of_each_type_reads_timestamps_and_values() {
    use Values::{Double, Float, Int, Short, Text};
    let ms = [0, 3_600_000];
    let cases: [Case; 9] = [
        (
            "required int64 t (TIMESTAMP(MICROS,false)); required double v;",
            &[(Int(&[19_723 * DAY, 19_724 * DAY]), None), (Double(&[0.1, -1e300]), None)],
            ["2024-01-01", "2024-01-02"],
            [0.1, -1e300],
        ),
        (
            "required int64 t (TIMESTAMP(MILLIS,true)); required float v;",
            &[(Int(&ms), None), (Float(&[0.5, 16_777_216.0]), None)],
            ["1970-01-01 00:00:00Z", "1970-01-01 01:00:00Z"],
            [0.5, 16_777_216.0],
        ),
        (
            "required int64 t (TIMESTAMP(NANOS,false)); required int64 v;",
            &[(Int(&[0, 500_000_000]), None), (Int(&[1 << 53, i64::MIN]), None)],
            ["1970-01-01 00:00:00.000", "1970-01-01 00:00:00.500"],
            [(1_i64 << 53) as f64, i64::MIN as f64],
        ),
        (
            "required int32 t (DATE); required int64 v (INTEGER(64,false));",
            &[(Short(&[-1, 0]), None), (Int(&[-1, 5]), None)],
            ["1969-12-31", "1970-01-01"],
            [u64::MAX as f64, 5.0],
        ),
        (
            "required int32 t (DATE); required int32 v (INTEGER(32,false));",
            &[(Short(&[0, 1]), None), (Short(&[-1, 5]), None)],
            ["1970-01-01", "1970-01-02"],
            [f64::from(u32::MAX), 5.0],
        ),
        (
            "required binary t (STRING); required int32 v (DECIMAL(9,3));",
            &[(Text(&["31.01.2024", "01.02.2024"]), None), (Short(&[-5, 12_345]), None)],
            ["31.01.2024", "01.02.2024"],
            [-0.005, 12.345],
        ),
        (
            "required int64 t; required int64 v (DECIMAL(18,0));",
            &[(Int(&[1999, 2000]), None), (Int(&[-5, 7]), None)],
            ["1999", "2000"],
            [-5.0, 7.0],
        ),
        (
            "required int32 t (DATE); optional double v;",
            &[(Short(&[0, 1]), None), (Double(&[2.5]), Some(&[0, 1]))],
            ["1970-01-01", "1970-01-02"],
            [f64::NAN, 2.5],
        ),
        (
            "required int32 t (DATE); required group s { required double v; }",
            &[(Short(&[0, 1]), None), (Double(&[2.5, 3.5]), None)],
            ["1970-01-01", "1970-01-02"],
            [2.5, 3.5],
        ),
    ];
    for (schema, columns, labels, values) in cases {
        let bytes = parquet_file(&format!("message m {{ {schema} }}"), Compression::SNAPPY, &[columns]);
        let config = CsvConfig { time_column: vec!["t".into()], ..CsvConfig::default() };
        let (_, found_labels, found, notes) =
            read(&bytes, &config).unwrap_or_else(|error| panic!("{schema}: {error:#}"));
        assert_eq!(found_labels, labels, "{schema}");
        let same = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan();
        assert!(found.len() == 2 && found.iter().zip(&values).all(same), "{schema}: {found:?}");
        assert_eq!(notes[0], "the file is a Parquet file", "{schema}");
    }
}

#[test]
fn parquet_of_several_row_groups_is_read_in_order() {
    let rows: Vec<f64> = (0..10_000).map(f64::from).collect();
    for compression in
        [Compression::UNCOMPRESSED, Compression::ZSTD(Default::default()), Compression::LZ4_RAW]
    {
        let groups = [
            &[(Values::Double(&rows[..5000]), None)][..],
            &[(Values::Double(&rows[5000..5001]), None)],
            &[(Values::Double(&rows[5001..]), None)],
        ];
        let bytes = parquet_file("message m { required double v; }", compression, &groups);
        let (names, _, values, _) = read(&bytes, &CsvConfig::default()).unwrap();
        assert_eq!((names, values), (vec!["v".to_owned()], rows.clone()));
    }
}

#[test]
fn parquet_that_cannot_be_read_is_an_error() {
    let bytes = parquet_file(
        "message m { required double v; required boolean b; }",
        Compression::UNCOMPRESSED,
        &[&[(Values::Double(&[1.0]), None), (Values::Bool(&[true]), None)]],
    );
    let config = CsvConfig::default();
    assert!(error(&bytes, &config).contains("row 2, column b: found \"true\""), "{}", error(&bytes, &config));
    let semicolons = CsvConfig { delimiter: Some(';'), ..config.clone() };
    assert_eq!(
        error(&bytes, &semicolons),
        "--delimiter has no effect on a Parquet file; try it without this flag"
    );
    assert!(error(&bytes[..bytes.len() / 2], &config).contains("damaged"));
}

/// Damaged files give an error or other values, but no panic.
#[test]
fn typed_file_of_damaged_bytes_does_not_panic() {
    let parquet = parquet_file(
        "message m { required int32 t (DATE); optional binary v (STRING); }",
        Compression::SNAPPY,
        &[&[(Values::Short(&[0, 1, 2]), None), (Values::Text(&["1", "2"]), Some(&[0, 1, 1]))]],
    );
    let workbook = workbook(&[("a", DAYS)]);
    let mut random = text_recognizer::rng::Stream::new(1);
    for file in [&parquet, &workbook] {
        assert!(read(file, &CsvConfig::default()).is_ok());
        for _ in 0..2_000 {
            let mut bytes = file.clone();
            for _ in 0..=random.below(3) {
                let at = 4 + random.below(bytes.len() as u64 - 4) as usize;
                match random.below(4) {
                    0 => bytes.truncate(at),
                    1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5) as usize],
                    _ => bytes[at] = random.next_u64() as u8,
                }
                if bytes.len() < 16 {
                    break;
                }
            }
            let _ = read(&bytes, &CsvConfig::default());
        }
    }
}

/// Two days and two values. The third row is blank.
const DAYS: &str = r#"<row r="1"><c r="A1" t="inlineStr"><is><t>t</t></is></c><c r="B1" t="inlineStr"><is><t>v, kW</t></is></c></row>
<row r="2"><c r="A2" s="1"><v>45292</v></c><c r="B2"><v>0.1</v></c></row>
<row r="4"><c r="A4" s="1"><v>45293</v></c></row>
<row r="5"><c r="A5" s="1"><v>45294</v></c><c r="B5"><v>1e-7</v></c></row>"#;

/// Writes a workbook with a style of dates and one of times.
fn workbook(sheets: &[(&str, &str)]) -> Vec<u8> {
    let xml = |name: &str, body: String| {
        let start = format!(
            r#"<?xml version="1.0"?><{name} xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">"#
        );
        format!("{start}{body}</{name}>")
    };
    let relations = |relations: String| {
        format!(
            r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{relations}</Relationships>"#
        )
    };
    let kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let mut list = String::new();
    let mut targets = format!(r#"<Relationship Id="s" Type="{kind}/styles" Target="styles.xml"/>"#);
    let mut files = Vec::new();
    for (at, (name, rows)) in sheets.iter().enumerate() {
        list += &format!(r#"<sheet name="{name}" sheetId="{}" r:id="r{at}"/>"#, at + 1);
        targets +=
            &format!(r#"<Relationship Id="r{at}" Type="{kind}/worksheet" Target="worksheets/s{at}.xml"/>"#);
        files.push((
            format!("xl/worksheets/s{at}.xml"),
            xml("worksheet", format!("<sheetData>{rows}</sheetData>")),
        ));
    }
    let office = format!(r#"<Relationship Id="w" Type="{kind}/officeDocument" Target="xl/workbook.xml"/>"#);
    let styles = r#"<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="21"/></cellXfs>"#;
    files.push(("_rels/.rels".into(), relations(office)));
    files.push(("xl/workbook.xml".into(), xml("workbook", format!("<sheets>{list}</sheets>"))));
    files.push(("xl/_rels/workbook.xml.rels".into(), relations(targets)));
    files.push(("xl/styles.xml".into(), xml("styleSheet", styles.into())));
    zip(&files)
}

/// Writes a ZIP archive without compression.
fn zip(files: &[(String, String)]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::<u8>::new(), Vec::<u8>::new());
    for (name, content) in files {
        let mut crc = flate2::Crc::new();
        crc.update(content.as_bytes());
        let size = (content.len() as u32).to_le_bytes();
        let place = (bytes.len() as u32).to_le_bytes();
        let common = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &crc.sum().to_le_bytes(),
            &size,
            &size,
            &(name.len() as u16).to_le_bytes(),
            &[0, 0],
        ]
        .concat();
        bytes.extend([&b"PK\x03\x04"[..], &common, name.as_bytes(), content.as_bytes()].concat());
        directory.extend([&b"PK\x01\x02\x14\0"[..], &common, &[0; 10], &place, name.as_bytes()].concat());
    }
    let count = (files.len() as u16).to_le_bytes();
    let end = [
        &b"PK\x05\x06\0\0\0\0"[..],
        &count,
        &count,
        &(directory.len() as u32).to_le_bytes(),
        &(bytes.len() as u32).to_le_bytes(),
        &[0, 0],
    ]
    .concat();
    [bytes, directory, end].concat()
}

#[test]
fn workbook_with_dates_and_gaps_reads_timestamps_and_values() {
    let (names, labels, values, notes) = read(&workbook(&[("a", DAYS)]), &CsvConfig::default()).unwrap();
    assert_eq!(names, ["v, kW"]);
    assert_eq!(labels, ["2024-01-01", "2024-01-02", "2024-01-03"]);
    assert_eq!((values[0], values[2]), (0.1, 1e-7));
    assert!(values[1].is_nan());
    assert_eq!(notes[0], "the file is an .xlsx workbook");
}

#[test]
fn workbook_of_each_kind_of_cell_reads_as_csv() {
    let config = |time: &str| CsvConfig {
        time_column: vec![time.to_owned()],
        header: Some(false),
        ..CsvConfig::default()
    };
    for (cells, label, value) in [
        ([r#" s="1"><v>45292.5</v>"#, "><v>7</v>"], "2024-01-01 12:00:00", 7.0),
        ([r#" s="1"><v>45292.5000058</v>"#, "><v>-7.25</v>"], "2024-01-01 12:00:00.501", -7.25),
        (["><v>2024</v>", r#" t="str"><v>1 234.5</v>"#], "2024", 1234.5),
        ([r#" t="d"><v>2024-01-01</v>"#, "><v>1E+20</v>"], "2024-01-01", 1e20),
        ([r#" t="inlineStr"><is><t>2024Q1</t></is>"#, r#" t="e"><v>#N/A</v>"#], "2024Q1", f64::NAN),
    ] {
        let rows = format!(
            r#"<row r="1"><c r="A1"{}</c><c r="B1"{}</c><c r="C1"><v>1</v></c></row>"#,
            cells[0], cells[1]
        );
        let config = CsvConfig { value_columns: vec!["1".into(), "2".into()], ..config("0") };
        let found = read(&workbook(&[("a", &rows)]), &config);
        if value.is_nan() {
            assert!(format!("{:#}", found.unwrap_err()).contains("column 1: found no number"), "{cells:?}");
            continue;
        }
        let (_, labels, values, _) = found.unwrap_or_else(|error| panic!("{cells:?}: {error:#}"));
        assert_eq!((labels[0].as_str(), values[0]), (label, value), "{cells:?}");
    }
}

#[test]
fn workbook_with_a_date_and_a_time_of_day_joins_them() {
    let rows = r#"<row r="1"><c r="A1" s="1"><v>45292</v></c><c r="B1" s="2"><v>0.25</v></c><c r="C1"><v>1</v></c></row>"#;
    let config = CsvConfig { time_column: vec!["0".into(), "1".into()], ..CsvConfig::default() };
    let (_, labels, values, _) = read(&workbook(&[("a", rows)]), &config).unwrap();
    assert_eq!((labels[0].as_str(), values[0]), ("2024-01-01 06:00:00", 1.0));
}

#[test]
fn workbook_of_several_sheets_needs_the_name_of_one() {
    let bytes = workbook(&[("a", ""), ("b", DAYS)]);
    let config = |sheet: &str| CsvConfig { sheet: Some(sheet.into()), ..CsvConfig::default() };
    assert_eq!(
        error(&bytes, &CsvConfig::default()),
        "the workbook has sheets a, b, expected one; try --sheet a"
    );
    for sheet in ["b", "1"] {
        assert!(read(&bytes, &config(sheet)).unwrap().3.contains(&"read sheet b of 2 (--sheet)".to_owned()));
    }
    assert_eq!(error(&bytes, &config("c")), "--sheet: found no sheet c, expected one of a, b");
    assert!(error(&bytes, &config("a")).contains("sheet a is empty"));
    let stray = format!(r#"{DAYS}<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>"#);
    assert!(error(&workbook(&[("a", &stray)]), &CsvConfig::default()).contains("most of them empty"));
    let mut archive = Vec::new();
    archive.write_all(&zip(&[("a.csv".into(), "v\n1\n".into())])).unwrap();
    assert!(error(&archive, &CsvConfig::default()).contains("cannot be read as an .xlsx workbook"));
}
