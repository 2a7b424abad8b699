//! The description of many series in a checkpoint.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::Statics;
use crate::time_series::{Scaler, Scaling};

/// The description of the many series that a model was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PanelExtras {
    /// The key columns.
    pub keys: Vec<String>,
    /// The scaling of each series.
    pub scalers: BTreeMap<String, Scaler>,
    /// The scaling of a series that is not among these.
    pub scaling: Scaling,
    /// The columns with one value per series.
    pub statics: Statics,
}

impl PanelExtras {
    /// Checks the numbers of a checkpoint of a model that forecasts `columns` columns.
    ///
    /// # Errors
    /// Fails if a scaling does not have one finite shift and one positive scale per column.
    pub fn check(&self, columns: usize) -> Result<()> {
        self.statics.check()?;
        for (key, scaler) in &self.scalers {
            ensure!(
                scaler.is_valid() && scaler.columns() == columns,
                "the scaling of its series {key} is not valid, expected finite shifts and positive scales of {columns} columns"
            );
        }
        Ok(())
    }
}
