//! Many series in one file: the rows with the same cells in the key columns are one series.

use std::collections::HashMap;

use anyhow::{Result, anyhow, bail, ensure};

/// The character between the cells of several key columns in the name of a series.
const BETWEEN: char = '/';

/// The series of a file so far.
#[derive(Debug, Default)]
pub(super) struct Keys {
    columns: Vec<usize>,
    /// The columns with one value per series.
    statics: Vec<usize>,
    places: HashMap<String, usize>,
    /// The series in the order of their first rows.
    pub series: Vec<Group>,
    name: String,
}

/// The rows of a series.
#[derive(Debug)]
pub(super) struct Group {
    pub name: String,
    /// The rows of the file, from 0.
    pub rows: Vec<u32>,
    /// The cells of the columns with one value per series.
    pub statics: Vec<String>,
    /// The line of the first row.
    line: u64,
}

impl Keys {
    /// Returns the series by the cells of these columns.
    pub fn new(columns: Vec<usize>, statics: Vec<usize>) -> Self {
        Self { columns, statics, ..Self::default() }
    }

    /// Adds the row `row`, on line `line`, whose columns have these names.
    pub fn push(&mut self, row: usize, line: u64, cells: &csv::ByteRecord, names: &[String]) -> Result<()> {
        let text = |column: usize| {
            let text = std::str::from_utf8(&cells[column]).map(str::trim);
            text.map_err(|_| {
                anyhow!(
                    "row {line}, column {}: found bytes that are not UTF-8, expected text; try --encoding cp1252",
                    names[column]
                )
            })
        };
        self.name.clear();
        for &column in &self.columns {
            if !self.name.is_empty() {
                self.name.push(BETWEEN);
            }
            let text = text(column)?;
            ensure!(
                !text.is_empty(),
                "row {line}, column {}: found no name of a series, expected one",
                names[column]
            );
            self.name.push_str(text);
        }
        let row = u32::try_from(row)
            .map_err(|_| anyhow!("found more rows than {}, expected at most these", u32::MAX))?;
        if let Some(&place) = self.places.get(&self.name) {
            let group = &mut self.series[place];
            for (&column, first) in self.statics.iter().zip(&group.statics) {
                let found = text(column)?;
                if found != first {
                    bail!(
                        "row {line}, column {}: found {found:?}, expected {first:?} as in row {} of the series {}; a static covariate \
                         has one value per series",
                        names[column],
                        group.line,
                        group.name
                    );
                }
            }
            group.rows.push(row);
            return Ok(());
        }
        let statics =
            self.statics.iter().map(|&column| Ok(text(column)?.to_owned())).collect::<Result<_>>()?;
        self.places.insert(self.name.clone(), self.series.len());
        self.series.push(Group { name: self.name.clone(), rows: vec![row], statics, line });
        Ok(())
    }
}
