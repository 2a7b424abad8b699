//! Reads a Parquet file, a block of rows at a time.

use std::io::Write;

use ::parquet::basic::{Compression, ConvertedType, LogicalType, TimeUnit, Type};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::{AsBytes, ByteArray, DataType};
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::schema::types::ColumnDescriptor;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;

use super::time::{Moment, Precision, SECOND};
use super::{Rows, write_number, write_text};
use crate::format::listed;

/// The most cells of a block.
const CELLS: usize = 1 << 18;
/// The most rows of a block.
const ROWS: usize = 4096;

/// The columns of a file, of which the rows of a group are read together.
pub(super) struct Table {
    reader: SerializedFileReader<Bytes>,
    columns: Vec<Column>,
    /// The next row group.
    group: usize,
    /// The rows of the current group that are left.
    left: usize,
    has_header: bool,
}

/// A column that can be read.
struct Column {
    index: usize,
    name: String,
    kind: Kind,
    /// The level of a value that is not missing.
    level: i16,
    reader: Option<ColumnReader>,
    block: Block,
}

/// The meaning of the values of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    /// An integer of this many bits, without a sign.
    Unsigned(i8),
    /// An integer with this many digits after the decimal point.
    Decimal(usize),
    Date,
    /// A count of time from midnight, of which this many are a second.
    Time(i64),
    /// A count of time from 1970-01-01.
    Timestamp {
        unit: i64,
        is_utc: bool,
        precision: Precision,
    },
}

/// Some values of a column: those that are not missing, and for each row whether its value is missing.
#[derive(Default)]
struct Block {
    levels: Vec<i16>,
    values: Values,
    /// The next value.
    at: usize,
}

#[derive(Default)]
enum Values {
    #[default]
    None,
    Bool(Vec<bool>),
    Int(Vec<i64>),
    Float(Vec<f64>),
    Bytes(Vec<ByteArray>),
}

impl Table {
    /// Opens a file, and finds the columns that can be read.
    pub fn open(bytes: Bytes, notes: &mut Vec<String>) -> Result<Self> {
        let reader = SerializedFileReader::new(bytes).context("the Parquet file is damaged")?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let (mut columns, mut left_out, mut indices) = (Vec::new(), Vec::new(), Vec::new());
        for (index, column) in schema.columns().iter().enumerate() {
            let name = column.path().parts().join(".");
            match kind(column) {
                None => left_out.push(name),
                Some(Kind::Plain) if name.starts_with("__index_level_") => indices.push(name),
                Some(kind) => columns.push(Column {
                    index,
                    name,
                    kind,
                    level: column.max_def_level(),
                    reader: None,
                    block: Block::default(),
                }),
            }
        }
        ensure!(!columns.is_empty(), "found no column of values, expected at least one");
        if !left_out.is_empty() {
            notes.push(format!("left out {}: lists and rare types are not read", listed(&left_out)));
        }
        if !indices.is_empty() {
            notes.push(format!("left out {}: row labels that pandas wrote", listed(&indices)));
        }
        check_compression(&reader)?;
        let mut table = Self { reader, columns, group: 0, left: 0, has_header: false };
        table.find_precisions()?;
        Ok(table)
    }

    /// Finds the digits that each column of timestamps needs.
    fn find_precisions(&mut self) -> Result<()> {
        for column in &mut self.columns {
            let Kind::Timestamp { unit, is_utc, .. } = column.kind else { continue };
            let mut most = Precision::default();
            for group in 0..self.reader.num_row_groups() {
                let group = self.reader.get_row_group(group)?;
                column.reader = Some(group.get_column_reader(column.index)?);
                let mut left = rows(group.metadata().num_rows())?;
                while left > 0 {
                    let read = left.min(ROWS);
                    column.read(read)?;
                    left -= read;
                    if let Values::Int(values) = &column.block.values {
                        let precisions = values.iter().map(|&count| Moment::new(count, unit).precision());
                        most = precisions.fold(most, Precision::max);
                    }
                }
            }
            column.kind = Kind::Timestamp { unit, is_utc, precision: most };
        }
        Ok(())
    }

    /// Goes to the next row group that has rows. Returns false after the last one.
    fn next_group(&mut self) -> Result<bool> {
        while self.left == 0 {
            if self.group == self.reader.num_row_groups() {
                return Ok(false);
            }
            let group = self.reader.get_row_group(self.group)?;
            self.left = rows(group.metadata().num_rows())?;
            for column in &mut self.columns {
                column.reader = Some(group.get_column_reader(column.index)?);
            }
            self.group += 1;
        }
        Ok(true)
    }

    /// Writes the cells between commas, and the end of the row.
    fn write_row(
        columns: &mut [Column],
        text: &mut Vec<u8>,
        mut write: impl FnMut(&mut Column, &mut Vec<u8>),
    ) {
        let (single, start) = (columns.len() == 1, text.len());
        for (at, column) in columns.iter_mut().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            write(column, text);
        }
        // A row of one empty cell would be a blank line.
        if single && text.len() == start {
            text.extend_from_slice(b"\"\"");
        }
        text.push(b'\n');
    }
}

impl Rows for Table {
    fn write(&mut self, text: &mut Vec<u8>) -> Result<bool> {
        if !self.has_header {
            self.has_header = true;
            Self::write_row(&mut self.columns, text, |column, text| write_text(text, &column.name));
            return Ok(true);
        }
        if !self.next_group().context("the Parquet file is damaged")? {
            return Ok(false);
        }
        let rows = self.left.min(ROWS).min((CELLS / self.columns.len()).max(1));
        for column in &mut self.columns {
            column.read(rows).with_context(|| format!("cannot read column {}", column.name))?;
        }
        for row in 0..rows {
            Self::write_row(&mut self.columns, text, |column, text| column.write(row, text));
        }
        self.left -= rows;
        Ok(true)
    }
}

impl Column {
    /// Reads the next `rows` rows into the block.
    fn read(&mut self, rows: usize) -> Result<()> {
        let levels = &mut self.block.levels;
        levels.clear();
        self.block.at = 0;
        self.block.values = match &mut self.reader {
            None => Values::None,
            Some(ColumnReader::BoolColumnReader(reader)) => Values::Bool(read(reader, rows, levels)?),
            Some(ColumnReader::Int32ColumnReader(reader)) => {
                Values::Int(read(reader, rows, levels)?.into_iter().map(i64::from).collect())
            }
            Some(ColumnReader::Int64ColumnReader(reader)) => Values::Int(read(reader, rows, levels)?),
            Some(ColumnReader::Int96ColumnReader(reader)) => {
                Values::Int(read(reader, rows, levels)?.iter().map(|value| value.to_micros()).collect())
            }
            Some(ColumnReader::FloatColumnReader(reader)) => {
                Values::Float(read(reader, rows, levels)?.into_iter().map(f64::from).collect())
            }
            Some(ColumnReader::DoubleColumnReader(reader)) => Values::Float(read(reader, rows, levels)?),
            Some(ColumnReader::ByteArrayColumnReader(reader)) => Values::Bytes(read(reader, rows, levels)?),
            Some(ColumnReader::FixedLenByteArrayColumnReader(reader)) => {
                Values::Bytes(read(reader, rows, levels)?.into_iter().map(ByteArray::from).collect())
            }
        };
        Ok(())
    }

    /// Writes the cell of row `row` of the block.
    fn write(&mut self, row: usize, text: &mut Vec<u8>) {
        if self.level > 0 && self.block.levels.get(row) != Some(&self.level) {
            return;
        }
        let at = self.block.at;
        self.block.at += 1;
        match &self.block.values {
            Values::None => {}
            // Writing to a vector cannot fail.
            Values::Bool(values) => drop(values.get(at).map(|value| write!(text, "{value}"))),
            Values::Int(values) => drop(values.get(at).map(|value| self.kind.write(*value, text))),
            Values::Float(values) => values.get(at).into_iter().for_each(|value| write_number(text, *value)),
            Values::Bytes(values) => {
                values.get(at).into_iter().for_each(|value| self.kind.write_bytes(value.as_bytes(), text));
            }
        }
    }
}

impl Kind {
    fn write(self, value: i64, text: &mut Vec<u8>) -> std::io::Result<()> {
        match self {
            Self::Plain => write!(text, "{value}")?,
            Self::Unsigned(64) => write!(text, "{}", value as u64)?,
            Self::Unsigned(_) => write!(text, "{}", value as u32)?,
            Self::Decimal(digits) => write_decimal(value.into(), digits, text),
            Self::Date => Moment::new(value.saturating_mul(86_400), 1).write(text, Precision::Days, false),
            Self::Time(unit) => {
                let moment = Moment::new(value, unit);
                moment.write_time(text, moment.precision());
            }
            Self::Timestamp { unit, is_utc, precision } => {
                Moment::new(value, unit).write(text, precision, is_utc)
            }
        }
        Ok(())
    }

    fn write_bytes(self, bytes: &[u8], text: &mut Vec<u8>) {
        match (self, bytes) {
            // Big-endian, in two's complement, of at most the 16 bytes that 38 digits need.
            (Self::Decimal(digits), [first, ..]) if bytes.len() <= 16 => {
                let sign: i128 = if *first >= 0x80 { -1 } else { 0 };
                let number = bytes.iter().fold(sign, |number, byte| number << 8 | i128::from(*byte));
                write_decimal(number, digits, text);
            }
            _ => write_text(text, &String::from_utf8_lossy(bytes)),
        }
    }
}

/// Reads the next `rows` rows of a column. Returns the values that are not missing.
fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    levels: &mut Vec<i16>,
) -> Result<Vec<T::T>> {
    let (mut values, mut read) = (Vec::with_capacity(rows), 0);
    while read < rows {
        let (records, ..) = reader.read_records(rows - read, Some(levels), None, &mut values)?;
        ensure!(records > 0, "the column ends before the other columns");
        read += records;
    }
    Ok(values)
}

/// Writes a number of which the last `digits` digits are after the decimal point.
fn write_decimal(number: i128, digits: usize, text: &mut Vec<u8>) {
    let sign = if number < 0 { "-" } else { "" };
    let all = format!("{:0width$}", number.unsigned_abs(), width = digits + 1);
    let (whole, fraction) = all.split_at(all.len() - digits);
    text.extend_from_slice(sign.as_bytes());
    text.extend_from_slice(whole.as_bytes());
    if digits > 0 {
        text.push(b'.');
        text.extend_from_slice(fraction.as_bytes());
    }
}

/// Returns the number of rows of a group.
fn rows(count: i64) -> Result<usize> {
    usize::try_from(count).context("the Parquet file is damaged: a row group has a negative number of rows")
}

/// Fails if a column is compressed in a way that is not read.
fn check_compression(reader: &SerializedFileReader<Bytes>) -> Result<()> {
    let columns = reader.metadata().row_groups().iter().flat_map(|group| group.columns());
    for column in columns {
        let compression = column.compression();
        ensure!(
            !matches!(compression, Compression::BROTLI(_) | Compression::LZO),
            "column {} is compressed with {compression}, expected snappy, gzip, zstd, lz4 or none",
            column.column_path().string()
        );
    }
    Ok(())
}

/// Returns the kind of a column, or `None` if it cannot be read: a list, or a rare type.
fn kind(column: &ColumnDescriptor) -> Option<Kind> {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::MILLIS => 1_000,
        TimeUnit::MICROS => 1_000_000,
        TimeUnit::NANOS => SECOND,
    };
    let timestamp = |unit, is_utc| Kind::Timestamp { unit, is_utc, precision: Precision::default() };
    // More bytes are more than the 38 digits that programs write.
    let is_short = column.physical_type() != Type::FIXED_LEN_BYTE_ARRAY || column.type_length() <= 16;
    let digits = |scale: i32| {
        usize::try_from(scale).ok().filter(|digits| *digits <= 38 && is_short).map(Kind::Decimal)
    };
    if column.max_rep_level() > 0 {
        return None;
    }
    match (column.logical_type_ref(), column.converted_type(), column.physical_type()) {
        (_, _, Type::INT96) => Some(timestamp(1_000_000, false)),
        (Some(LogicalType::Timestamp(time)), ..) => {
            Some(timestamp(unit(&time.unit), time.is_adjusted_to_u_t_c))
        }
        (Some(LogicalType::Time(time)), ..) => Some(Kind::Time(unit(&time.unit))),
        (Some(LogicalType::Decimal(decimal)), ..) => digits(decimal.scale),
        (Some(LogicalType::Integer(integer)), ..) if !integer.is_signed => {
            Some(Kind::Unsigned(integer.bit_width))
        }
        (Some(LogicalType::Date), ..) | (None, ConvertedType::DATE, _) => Some(Kind::Date),
        (None, ConvertedType::TIMESTAMP_MILLIS, _) => Some(timestamp(1_000, true)),
        (None, ConvertedType::TIMESTAMP_MICROS, _) => Some(timestamp(1_000_000, true)),
        (None, ConvertedType::TIME_MILLIS, _) => Some(Kind::Time(1_000)),
        (None, ConvertedType::TIME_MICROS, _) => Some(Kind::Time(1_000_000)),
        (None, ConvertedType::DECIMAL, _) => digits(column.type_scale()),
        (None, ConvertedType::UINT_64, _) => Some(Kind::Unsigned(64)),
        (None, ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32, _) => {
            Some(Kind::Unsigned(32))
        }
        (Some(LogicalType::String | LogicalType::Enum | LogicalType::Json), ..) => Some(Kind::Plain),
        // Bytes without a type are text in old files.
        (None, _, Type::FIXED_LEN_BYTE_ARRAY) => None,
        (None | Some(LogicalType::Integer(_)), ..) => Some(Kind::Plain),
        _ => None,
    }
}
