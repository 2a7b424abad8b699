//! Makes the series of a file with key columns.

use std::rc::Rc;

use anyhow::{Context, Result, anyhow};
use tch::Tensor;

use super::keys::Group;
use super::table::Table;
use crate::time_series::{
    Arranged, CovariateValues, Frequency, Panel, RawTimes, Roles, Series, TimeConfig, TimeProblem,
    Timestamps, arrange, split_off,
};

impl Table<'_> {
    /// Makes the series of `groups`. `notes` are those of the file, and `expected` is the frequency of a trained model.
    pub(super) fn finish_many(
        mut self,
        groups: Vec<Group>,
        named: bool,
        expected: Option<Frequency>,
        mut notes: Vec<String>,
    ) -> Result<Panel> {
        let rows: Vec<&[u32]> = groups.iter().map(|group| &group.rows[..]).collect();
        let mut raw = match self.time.take() {
            Some(time) => Some(time.finish_groups(&rows).map_err(|problem| self.place(problem))?),
            None => None,
        };
        notes.extend(raw.iter_mut().flat_map(RawTimes::take_notes));
        let columns = self.chosen.values.len();
        let roles = std::mem::take(&mut self.roles);
        let targets = columns - roles.past.len() - roles.future.len();
        let names: Vec<String> =
            self.chosen.values[..targets].iter().map(|&column| self.names[column].clone()).collect();
        let config = self.common_frequency(&groups, raw.as_ref(), expected)?;
        let mut values = std::mem::take(&mut self.values);
        let is_grouped =
            groups.iter().flat_map(|group| &group.rows).enumerate().all(|(at, row)| at == *row as usize);
        let mut made = Vec::with_capacity(groups.len());
        let (mut of_series, mut all_later) = (Vec::new(), 0);
        let mut shared = Rc::new(Timestamps::counted(0));
        // From the last to the first, so that the values of a file in the order of its series are freed on the way.
        for group in groups.into_iter().rev() {
            let first = group.rows[0] as usize;
            let own = if is_grouped {
                split_off(&mut values, first * columns)
            } else {
                let rows = group.rows.iter().map(|&row| &values[row as usize * columns..][..columns]);
                rows.flatten().copied().collect()
            };
            let (timestamps, values) = match &mut raw {
                None => (Timestamps::counted(group.rows.len()), own),
                Some(raw) => {
                    let times = if is_grouped { raw.split_off(first) } else { raw.of_rows(&group.rows) };
                    let arranged = arrange(times, own, columns, &config, expected);
                    let Arranged { timestamps, values, notes } =
                        arranged.map_err(|problem| self.place_in(problem, &group))?;
                    of_series.extend(notes.into_iter().map(|note| format!("{}: {note}", group.name)));
                    (timestamps, values)
                }
            };
            let values = Tensor::f_from_slice(&values)?.f_view([-1, columns as i64])?;
            // Many series have the same timestamps, which are then in memory once.
            if *shared != timestamps {
                shared = Rc::new(timestamps);
            }
            let in_series = || format!("series {}", group.name);
            let (series, later) =
                of_group(values, Rc::clone(&shared), &names, named, &roles).with_context(in_series)?;
            all_later += later;
            made.push(series.of_group(group.name, group.statics));
        }
        made.reverse();
        of_series.reverse();
        notes.extend(self.missing(all_later));
        notes.extend(shortened(of_series));
        let longest = made.iter().max_by_key(|series| series.len());
        notes.extend(longest.and_then(Series::covariates).map(CovariateValues::notes).unwrap_or_default());
        if all_later > 0 {
            notes.push(format!("{all_later} rows at the ends of series have no target, only covariates that are known beforehand"));
        }
        let name = |columns: &[usize]| columns.iter().map(|&column| self.names[column].clone()).collect();
        Ok(Panel { keys: name(&self.chosen.keys), statics: name(&self.chosen.statics), series: made, notes })
    }

    /// Returns the configuration of the timestamps with the frequency of the longest series, which all series have.
    fn common_frequency(
        &self,
        groups: &[Group],
        raw: Option<&RawTimes>,
        expected: Option<Frequency>,
    ) -> Result<TimeConfig> {
        let mut config = self.config().time.clone();
        let longest = groups.iter().rev().max_by_key(|group| group.rows.len());
        if let (None, Some(raw), Some(longest)) = (config.frequency, raw, longest) {
            let arranged = arrange(raw.of_rows(&longest.rows), Vec::new(), 0, &config, expected);
            config.frequency =
                arranged.map_err(|problem| self.place_in(problem, longest))?.timestamps.frequency();
        }
        Ok(config)
    }

    /// Returns an error with the line of a row of a series.
    fn place_in(&self, TimeProblem { row, message }: TimeProblem, group: &Group) -> anyhow::Error {
        match row.and_then(|row| group.rows.get(row)) {
            Some(&row) => anyhow!("row {}, series {}: {message}", self.line(row as usize), group.name),
            None => anyhow!("series {}: {message}", group.name),
        }
    }
}

/// Makes one series of `values: [rows, targets + covariates]`. Returns the number of rows after the last target too.
fn of_group(
    values: Tensor,
    timestamps: Rc<Timestamps>,
    names: &[String],
    named: bool,
    roles: &Roles,
) -> Result<(Series, usize)> {
    if roles.is_empty() {
        return Ok((Series::new(timestamps, names.to_vec(), named, values)?, 0));
    }
    let (values, timestamps, covariates, later) = CovariateValues::split(&values, timestamps, roles.clone())?;
    Ok((Series::new(timestamps, names.to_vec(), named, values)?.with_covariates(covariates)?, later))
}

/// Returns the first notes of many series, and the number of the others.
pub(crate) fn shortened(mut notes: Vec<String>) -> Vec<String> {
    const MOST: usize = 3;
    let more = notes.len().saturating_sub(MOST);
    notes.truncate(MOST);
    if more > 0 {
        notes.push(format!("and {more} more notes on other series"));
    }
    notes
}
