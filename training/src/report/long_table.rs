//! Tables of any length, as CSV and as Parquet.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use text_recognizer::util::files::write_atomic;

/// The cells of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cells {
    /// Texts.
    Text(Vec<String>),
    /// Whole numbers.
    Integer(Vec<i64>),
    /// Numbers; NaN is a missing value.
    Number(Vec<f64>),
    /// Points in time.
    Time {
        /// The labels, which CSV gets.
        labels: Vec<String>,
        /// The microseconds since 1970-01-01, which Parquet gets.
        micros: Vec<i64>,
        /// Whether the microseconds are those of UTC, else of a clock in an unknown place.
        is_utc: bool,
    },
}

impl Cells {
    fn len(&self) -> usize {
        match self {
            Self::Text(cells) | Self::Time { labels: cells, .. } => cells.len(),
            Self::Integer(cells) => cells.len(),
            Self::Number(cells) => cells.len(),
        }
    }

    /// Returns a cell as text; a missing number is empty.
    fn text(&self, row: usize) -> String {
        match self {
            Self::Text(cells) | Self::Time { labels: cells, .. } => cells[row].clone(),
            Self::Integer(cells) => cells[row].to_string(),
            Self::Number(cells) if cells[row].is_nan() => String::new(),
            Self::Number(cells) => cells[row].to_string(),
        }
    }
}

/// A table of named columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LongTable {
    columns: Vec<(String, Cells)>,
}

impl LongTable {
    /// Adds a column.
    ///
    /// # Errors
    /// Fails if it is not as long as the others.
    pub fn add(&mut self, name: impl Into<String>, cells: Cells) -> Result<()> {
        let (name, rows) = (name.into(), self.rows());
        ensure!(
            self.columns.is_empty() || cells.len() == rows,
            "column {name} has {} rows, expected {rows} as the others have",
            cells.len()
        );
        self.columns.push((name, cells));
        Ok(())
    }

    fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, cells)| cells.len())
    }

    /// Writes the table as CSV.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(self.columns.iter().map(|(name, _)| name))?;
        for row in 0..self.rows() {
            writer.write_record(self.columns.iter().map(|(_, cells)| cells.text(row)))?;
        }
        Ok(write_atomic(path, &writer.into_inner().context("cannot write a table")?)?)
    }

    /// Writes the table as Parquet, with Zstandard compression. A missing number is NaN.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write_parquet(&self, path: &Path) -> Result<()> {
        let failed = || format!("cannot write {}", path.display());
        Ok(write_atomic(path, &self.parquet().with_context(failed)?)?)
    }

    fn parquet(&self) -> Result<Vec<u8>> {
        let fields = self.columns.iter().map(|(name, cells)| Ok(Arc::new(field(name, cells)?)));
        let fields = fields.collect::<Result<Vec<_>>>()?;
        let schema = Arc::new(Type::group_type_builder("table").with_fields(fields).build()?);
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(Default::default()));
        let mut bytes = Vec::new();
        let mut file = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties.build()))?;
        let mut group = file.next_row_group()?;
        for (name, cells) in &self.columns {
            let mut column = group.next_column()?.with_context(|| format!("found no column {name}"))?;
            match cells {
                Cells::Text(cells) => {
                    let cells: Vec<ByteArray> = cells.iter().map(|cell| cell.as_str().into()).collect();
                    column.typed::<ByteArrayType>().write_batch(&cells, None, None)?;
                }
                Cells::Integer(cells) | Cells::Time { micros: cells, .. } => {
                    column.typed::<Int64Type>().write_batch(cells, None, None)?;
                }
                Cells::Number(cells) => {
                    column.typed::<DoubleType>().write_batch(cells, None, None)?;
                }
            }
            column.close()?;
        }
        group.close()?;
        file.close()?;
        Ok(bytes)
    }
}

/// Returns the description of a column.
fn field(name: &str, cells: &Cells) -> Result<Type> {
    let (physical, logical) = match cells {
        Cells::Text(_) => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
        Cells::Integer(_) => (PhysicalType::INT64, None),
        Cells::Number(_) => (PhysicalType::DOUBLE, None),
        Cells::Time { is_utc, .. } => {
            (PhysicalType::INT64, Some(LogicalType::timestamp(*is_utc, TimeUnit::MICROS)))
        }
    };
    let field = Type::primitive_type_builder(name, physical);
    Ok(field.with_logical_type(logical).with_repetition(Repetition::REQUIRED).build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parquet_of_times_has_their_microseconds_and_whether_they_are_utc() {
        use parquet::file::reader::{FileReader, SerializedFileReader};
        use parquet::record::RowAccessor;

        for is_utc in [true, false] {
            let mut table = LongTable::default();
            let labels = vec!["2024-03-31 03:00".to_owned()];
            table.add("time", Cells::Time { labels, micros: vec![1_711_846_800_000_000], is_utc }).unwrap();
            table.add("value", Cells::Number(vec![0.5])).unwrap();
            assert!(table.add("short", Cells::Integer(Vec::new())).is_err());
            let reader = SerializedFileReader::new(bytes::Bytes::from(table.parquet().unwrap())).unwrap();
            let schema = reader.metadata().file_metadata().schema_descr_ptr();
            let expected = LogicalType::timestamp(is_utc, TimeUnit::MICROS);
            assert_eq!(schema.column(0).logical_type_ref(), Some(&expected));
            let row = reader.get_row_iter(None).unwrap().next().unwrap().unwrap();
            assert_eq!(
                (row.get_timestamp_micros(0).unwrap(), row.get_double(1).unwrap()),
                (1_711_846_800_000_000, 0.5)
            );
        }
    }
}
