//! The values of the covariates of a series.

use std::rc::Rc;

use anyhow::{Result, anyhow, ensure};
use tch::{Kind, Tensor};

use super::Roles;
use crate::format::{count, listed};
use crate::time_series::fill::{Filled, fill};
use crate::time_series::{Calendar, Fill, Series, Timestamps};

/// The covariates of a series, and the timestamps that features are made of.
#[derive(Debug)]
pub struct CovariateValues {
    /// The names.
    pub roles: Roles,
    /// The past covariates, `[rows, past]`, in double precision. NaN is a missing value.
    pub past: Tensor,
    /// The future covariates, `[rows and later ones, future]`.
    pub future: Tensor,
    /// The timestamps of the rows and of the later ones in the file.
    pub timestamps: Rc<Timestamps>,
    /// The past covariates with filled gaps; `None` if nothing is filled.
    filled_past: Option<Filled>,
    /// The future covariates with filled gaps.
    filled_future: Option<Filled>,
}

impl CovariateValues {
    /// Splits `all: [rows, targets + past + future]` into the targets and the covariates. With future covariates, the rows after the
    /// last target belong only to these. Returns the targets, their timestamps, the covariates and the number of later rows with a
    /// future covariate.
    ///
    /// # Errors
    /// Fails if no row has a target, if there are calendar features of timestamps that are no dates, or Fourier terms of irregular ones.
    pub fn split(
        all: &Tensor,
        timestamps: Rc<Timestamps>,
        roles: Roles,
    ) -> Result<(Tensor, Rc<Timestamps>, Self, usize)> {
        ensure!(
            roles.calendar.is_empty() || timestamps.is_date(),
            "cannot make the features of --calendar: found {}, expected dates; try --time_column with a column of dates",
            if timestamps.is_counted() { "row numbers" } else { "numbers" }
        );
        ensure!(
            roles.fourier.is_empty() || timestamps.frequency().is_some(),
            "cannot make the terms of --fourier: found irregular timestamps, expected regular ones; try --frequency"
        );
        let (past, future) = (roles.past.len() as i64, roles.future.len() as i64);
        let (size, targets) = (all.size(), all.size()[1] - past - future);
        let part = |first: i64, columns: i64| all.f_narrow(1, first, columns);
        let (values, future) = (part(0, targets)?, part(targets + past, future)?);
        let mut rows = size[0];
        let mut later = 0;
        if !roles.future.is_empty() {
            let last = last_row(&values)?.ok_or_else(|| anyhow!("found no target, expected at least one"))?;
            rows = last + 1;
            let present = future.f_narrow(0, rows, size[0] - rows)?.f_isnan()?.f_logical_not()?;
            later = present.f_any_dim(1, false)?.f_sum(Kind::Int64)?.f_int64_value(&[])? as usize;
        }
        let own = |values: &Tensor, rows: i64| values.f_narrow(0, 0, rows)?.f_contiguous();
        let of_targets = match rows as usize {
            all if all == timestamps.len() => Rc::clone(&timestamps),
            rows => Rc::new(timestamps.head(rows)),
        };
        let covariates = Self {
            past: own(&part(targets, past)?, rows)?,
            future: own(&future, size[0])?,
            timestamps,
            roles,
            filled_past: None,
            filled_future: None,
        };
        Ok((own(&values, rows)?, of_targets, covariates, later))
    }

    /// Returns notes on features that are constant, or that depend on the first row.
    pub fn notes(&self) -> Vec<String> {
        let rows = self.timestamps.len();
        let is_constant = |feature: &&Calendar| {
            let values = self.timestamps.calendar(&[**feature], 0..rows);
            values.chunks(2).all(|pair| pair == &values[..2])
        };
        let constant: Vec<&str> =
            self.roles.calendar.iter().filter(is_constant).map(|feature| feature.name()).collect();
        let mut notes = Vec::new();
        if !constant.is_empty() {
            notes.push(format!("the same in all rows: {} (--calendar)", listed(&constant)));
        }
        if !self.roles.fourier.is_empty() && self.timestamps.is_counted() {
            notes.push(
                "the periods of --fourier begin at the first row, because there are no timestamps".into(),
            );
        }
        notes
    }

    /// Appends the rows of `next`, whose columns are the future covariates, after those of a series of `rows` rows.
    ///
    /// # Errors
    /// Fails if there are later rows already, or if the timestamps of `next` do not continue those of the series.
    pub fn append(&mut self, rows: usize, next: &Series) -> Result<()> {
        let found = self.timestamps.len() - rows;
        ensure!(
            found == 0,
            "found {} after the last target in the file of the series too, expected them in one file",
            count(found as u64, "row")
        );
        let joined = self.timestamps.followed_by(&next.timestamps);
        self.timestamps = joined.map(Rc::new).map_err(|difference| {
            anyhow!("its timestamps do not continue those of the series: {difference}")
        })?;
        self.future = Tensor::f_cat(&[&self.future, &next.values], 0)?;
        self.filled_future = None;
        Ok(())
    }

    /// Returns the covariates of the first `rows` rows, without filled gaps; those that are known beforehand of all rows.
    ///
    /// # Errors
    /// Fails if there are fewer rows.
    pub fn head(&self, rows: usize) -> text_recognizer::Result<Self> {
        Ok(Self {
            roles: self.roles.clone(),
            past: self.past.f_narrow(0, 0, rows as i64)?,
            future: self.future.shallow_clone(),
            timestamps: Rc::clone(&self.timestamps),
            filled_past: None,
            filled_future: None,
        })
    }

    /// Returns the past covariates that networks get: with filled gaps after [`CovariateValues::fill`].
    pub fn past_inputs(&self) -> &Tensor {
        self.filled_past.as_ref().map_or(&self.past, |filled| &filled.values)
    }

    /// Returns the future covariates that networks get, like [`CovariateValues::past_inputs`].
    pub fn future_inputs(&self) -> &Tensor {
        self.filled_future.as_ref().map_or(&self.future, |filled| &filled.values)
    }

    /// Returns how many rows from row `rows` on have all future covariates, without a gap.
    pub fn later(&self, rows: usize) -> Result<usize> {
        let all = self.future.size()[0];
        let later = self.future_inputs().f_narrow(
            0,
            (rows as i64).min(all),
            all.saturating_sub(rows as i64).max(0),
        )?;
        let missing = Vec::<bool>::try_from(later.f_isnan()?.f_any_dim(1, false)?)?;
        Ok(missing.iter().position(|&is_missing| is_missing).unwrap_or(missing.len()))
    }

    /// Returns the number of missing values among the first `rows` rows.
    pub fn missing(&self, rows: usize) -> text_recognizer::Result<usize> {
        let count = |values: &Tensor| -> text_recognizer::Result<usize> {
            let missing = values.f_narrow(0, 0, rows as i64)?.f_isnan()?;
            Ok(missing.f_sum(Kind::Int64)?.f_int64_value(&[])? as usize)
        };
        Ok(count(&self.past)? + count(&self.future)?)
    }

    /// Fills missing values, like [`Series::fill`]. Returns a note with their number, if there are any.
    pub fn fill(
        &mut self,
        how: Fill,
        season: Option<usize>,
        splits: &[usize],
    ) -> text_recognizer::Result<Option<String>> {
        let mut counts = (0, 0);
        let both = [(&self.past, &mut self.filled_past), (&self.future, &mut self.filled_future)];
        for (values, place) in both {
            let missing = values.f_isnan()?.f_sum(Kind::Int64)?.f_int64_value(&[])? as usize;
            if missing > 0 {
                let filled = fill(values, how, season, splits)?;
                counts = (counts.0 + missing, counts.1 + filled.count);
                *place = Some(filled).filter(|filled| filled.count > 0);
            }
        }
        let missing = count(counts.0 as u64, "value");
        Ok(match (counts, how) {
            ((0, _), _) => None,
            (_, Fill::None) => Some(format!(
                "{missing} of covariates missing; windows with one are left out (--fill fills them)"
            )),
            ((_, filled), _) => {
                Some(format!("filled {filled} of {missing} of covariates that are missing (--fill)"))
            }
        })
    }

    /// Returns whether a window that ends at `row`, whose future covariates are `lead` rows later, has a covariate that is filled from
    /// a row after it.
    pub fn looks_ahead(&self, row: usize, lead: usize) -> bool {
        let at = |filled: &Option<Filled>, row: usize| {
            filled.as_ref().and_then(|filled| filled.looks_ahead.get(row).copied()) == Some(true)
        };
        at(&self.filled_past, row) || at(&self.filled_future, row.saturating_add(lead))
    }
}

/// Returns the last row that has a value.
fn last_row(values: &Tensor) -> Result<Option<i64>> {
    let present = Vec::<bool>::try_from(values.f_isnan()?.f_logical_not()?.f_any_dim(1, false)?)?;
    Ok(present.iter().rposition(|&is_present| is_present).map(|row| row as i64))
}
