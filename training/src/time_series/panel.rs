//! Many series of the same columns and frequency, for one model of all.

use anyhow::{Result, ensure};

use super::Series;

mod data_module;
mod extras;
mod statics;

pub use data_module::{Member, PanelDataModule};
pub use extras::PanelExtras;
pub use statics::Statics;

/// The series of a file: one, or many that the cells of key columns name.
#[derive(Debug)]
pub struct Panel {
    /// The key columns; empty for one series.
    pub keys: Vec<String>,
    /// The columns that have one value per series.
    pub statics: Vec<String>,
    /// The series, in the order of their first rows.
    pub series: Vec<Series>,
    /// Notes on the file and on the series, one sentence each; those of one series are its own.
    pub notes: Vec<String>,
}

impl Panel {
    /// Returns one series with notes on its file.
    pub fn of(mut series: Series, notes: Vec<String>) -> Self {
        series.notes = notes;
        Self { keys: Vec::new(), statics: Vec::new(), series: vec![series], notes: Vec::new() }
    }

    /// Returns whether the series have names.
    pub fn is_many(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Returns the only series.
    ///
    /// # Errors
    /// Fails if the series have names, which only some commands read.
    pub fn only(mut self) -> Result<Series> {
        let found = self.series.len();
        ensure!(
            !self.is_many() && found == 1,
            "found {found} series, expected one; try without --series_column, or a file of one series"
        );
        Ok(self.series.remove(0))
    }
}

#[cfg(test)]
mod tests;
