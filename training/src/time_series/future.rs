//! A forecast of the time steps after the last row of a series.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};

use super::{PathEnds, Series, Timestamps};

/// A forecast of the future of a series.
#[derive(Debug)]
pub struct Future<'a> {
    /// The series.
    pub series: &'a Series,
    /// Rows from one step ahead to the next.
    pub stride: usize,
    /// The forecast, `[steps][columns]`, in the units of the series.
    pub forecast: Vec<Vec<f64>>,
    /// The ends of the intervals of each level.
    pub ends: Vec<PathEnds>,
}

impl Future<'_> {
    /// Returns the next timestamps; `None` if the series is irregular.
    pub fn times(&self) -> Option<Timestamps> {
        self.series.timestamps.after(self.forecast.len(), self.stride)
    }

    /// Returns the forecast as CSV. The first column has the next timestamps if the series is regular, else the steps ahead. The
    /// intervals of a column follow it, as NAME-lo-LEVEL and NAME-hi-LEVEL.
    ///
    /// # Errors
    /// Fails if memory does.
    pub fn csv(&self) -> Result<Vec<u8>> {
        let (first, labels): (_, Vec<String>) = match self.times() {
            Some(times) => ("time", times.labels()),
            None => ("step", (1..=self.forecast.len()).map(|step| step.to_string()).collect()),
        };
        let mut writer = csv::Writer::from_writer(Vec::new());
        let mut header = vec![first.to_owned()];
        for name in &self.series.names {
            header.push(name.clone());
            header.extend(
                self.ends
                    .iter()
                    .flat_map(|(level, _)| [format!("{name}-lo-{level}"), format!("{name}-hi-{level}")]),
            );
        }
        check_names(&header)?;
        writer.write_record(&header)?;
        for (step, (label, row)) in labels.into_iter().zip(&self.forecast).enumerate() {
            writer.write_field(label)?;
            for (column, value) in row.iter().enumerate() {
                writer.write_field(value.to_string())?;
                for end in self.ends.iter().flat_map(|(_, ends)| ends) {
                    writer.write_field(end[step][column].to_string())?;
                }
            }
            writer.write_record(None::<&[u8]>)?;
        }
        writer.into_inner().context("cannot write the forecast")
    }
}

/// Fails if two columns of a table have the same name.
fn check_names(header: &[String]) -> Result<()> {
    let mut seen = HashSet::new();
    match header.iter().find(|name| !seen.insert(*name)) {
        Some(name) => bail!(
            "cannot write the forecast: two columns are named {name}, expected different names; try --value_columns without it"
        ),
        None => Ok(()),
    }
}
