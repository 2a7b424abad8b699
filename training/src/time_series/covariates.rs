//! Covariates: what a network gets beside the targets.
//!
//! The inputs of a network at a row are the targets, the past covariates, and then the columns that are known beforehand: future
//! covariates, calendar features and Fourier terms. These lead by the horizon: their values are those of the row that is `horizon`
//! time steps later. The last `horizon` time steps of a window then have the values of the rows that are forecast.

use std::ops::Range;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use text_recognizer::Error;

use super::{Calendar, Fourier, Scaler, Scaling, Series};
use crate::format::{count, listed};

mod values;

pub use values::CovariateValues;

/// The names of covariates and features, in the order of the inputs of a network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Roles {
    /// The columns that are known up to the last row before a forecast.
    pub past: Vec<String>,
    /// The columns that are known beforehand.
    pub future: Vec<String>,
    /// The places of timestamps in periods of the calendar.
    pub calendar: Vec<Calendar>,
    /// The Fourier terms, of periods in rows.
    pub fourier: Vec<Fourier>,
}

impl Roles {
    /// Returns whether there is neither a covariate nor a feature.
    pub fn is_empty(&self) -> bool {
        self.past.is_empty() && !self.has_known()
    }

    /// Returns whether there are inputs that are known beforehand.
    pub fn has_known(&self) -> bool {
        self.known() > 0
    }

    /// Returns the features that are made of timestamps, as in `--calendar` and `--fourier`.
    pub fn features(&self) -> Vec<String> {
        let calendar = self.calendar.iter().map(|feature| feature.name().to_owned());
        calendar.chain(self.fourier.iter().map(|term| format!("fourier {term}"))).collect()
    }

    /// Returns the number of inputs beside the targets.
    pub fn inputs(&self) -> usize {
        self.past.len() + self.known()
    }

    /// Returns the number of inputs that are known beforehand.
    fn known(&self) -> usize {
        let terms = self.fourier.iter().map(|term| term.order).sum::<usize>();
        self.future.len() + 2 * (self.calendar.len() + terms)
    }
}

/// The covariates of a model, and their scaling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Covariates {
    /// Their names.
    pub roles: Roles,
    /// The scaling of the past covariates.
    past: Scaler,
    /// The scaling of the future covariates. Features need none: they are sines and cosines.
    future: Scaler,
}

impl Covariates {
    /// Fits the scaling to the training split of each series: its covariates and the number of its rows. It is the scaling of the targets
    /// or, if that is a scaling per window, `standard`. Returns `None` for no series.
    ///
    /// # Errors
    /// Fails if a covariate has no value in the training split, or values that are too large.
    pub fn fit(
        training: &[(&CovariateValues, usize)],
        scaling: Scaling,
    ) -> text_recognizer::Result<Option<Self>> {
        let scaling = match scaling {
            Scaling::Window | Scaling::Last => Scaling::Standard,
            other => other,
        };
        let Some(roles) = training.first().map(|(values, _)| values.roles.clone()) else { return Ok(None) };
        let fit = |names: &[String], of: fn(&CovariateValues) -> &Tensor| {
            let parts = training.iter().map(|(values, split)| of(values).f_narrow(0, 0, *split as i64));
            let training = Tensor::f_cat(&parts.collect::<Result<Vec<_>, _>>()?, 0)?;
            let empty = Vec::<bool>::try_from(training.f_isnan()?.f_all_dim(0, false)?)?;
            if let Some(at) = empty.into_iter().position(|is_empty| is_empty) {
                let rows = training.size()[0];
                let expected =
                    format!("at least one in the training split of {rows} rows; try another --split_time");
                return Err(Error::invalid(format!("the number of values of {}", names[at]), 0, expected));
            }
            let scaling = if names.is_empty() { Scaling::None } else { scaling };
            Scaler::fit(scaling, &training)
        };
        let past = fit(&roles.past, |values| &values.past)?;
        let future = fit(&roles.future, |values| &values.future)?;
        Ok(Some(Self { roles, past, future }))
    }

    /// Checks the scaling of a checkpoint.
    ///
    /// # Errors
    /// Fails if there is not one finite shift and one positive scale per covariate.
    pub fn check(&self) -> Result<()> {
        for (names, scaler) in [(&self.roles.past, &self.past), (&self.roles.future, &self.future)] {
            ensure!(
                scaler.is_valid() && scaler.columns() == names.len() && !scaler.is_per_window(),
                "the scaling of its covariates is not valid, expected finite shifts and positive scales of {}: {}",
                names.len(),
                listed(names)
            );
        }
        Ok(())
    }

    /// Returns the covariates of `series`.
    ///
    /// # Errors
    /// Fails if the series has others than the model.
    pub fn of<'a>(&self, series: &'a Series) -> Result<&'a CovariateValues> {
        let found = series.covariates().filter(|values| values.roles == self.roles);
        let names = [&self.roles.past[..], &self.roles.future].concat();
        found.ok_or_else(|| {
            anyhow::anyhow!(
                "cannot forecast: the series has other covariates than the model, expected {}",
                if names.is_empty() { "those of its timestamps".into() } else { listed(&names) }
            )
        })
    }

    /// Returns the values of past covariates and of what is known beforehand, each with its names and its scaling, in which they
    /// reach a network.
    pub(super) fn parts<'a>(
        &'a self,
        values: &'a CovariateValues,
    ) -> [(&'a [String], &'a Tensor, &'a Scaler); 2] {
        [(&self.roles.past, &values.past, &self.past), (&self.roles.future, &values.future, &self.future)]
    }

    /// Returns the scaled inputs of `rows`: `targets`, `[rows, targets]`, their past covariates, and what is known beforehand of the
    /// rows that are `lead` rows later. `[rows, inputs]`, with the dtype of `targets` and NaN for rows that are not known.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn inputs(
        &self,
        targets: &Tensor,
        values: &CovariateValues,
        rows: Range<usize>,
        lead: usize,
    ) -> text_recognizer::Result<Tensor> {
        let past = self.past(values, rows.clone())?.f_to_kind(targets.kind())?;
        let later = rows.start.saturating_add(lead)..rows.end.saturating_add(lead);
        let known = self.known(values, later)?.f_to_kind(targets.kind())?;
        Ok(Tensor::f_cat(&[targets, &past, &known], 1)?)
    }

    /// Returns the scaled past covariates of `rows`, `[rows, past]`; NaN after the end.
    pub(super) fn past(
        &self,
        values: &CovariateValues,
        rows: Range<usize>,
    ) -> text_recognizer::Result<Tensor> {
        self.past.transform(&rows_of(values.past_inputs(), rows)?)
    }

    /// Returns the scaled inputs of `rows` that are known beforehand, `[rows, known]`; NaN where nothing is known.
    pub(super) fn known(
        &self,
        values: &CovariateValues,
        rows: Range<usize>,
    ) -> text_recognizer::Result<Tensor> {
        let future = self.future.transform(&rows_of(values.future_inputs(), rows.clone())?)?;
        let count = rows.len() as i64;
        let part = |numbers: Vec<f64>| -> text_recognizer::Result<Tensor> {
            let columns = numbers.len() as i64 / count.max(1);
            Ok(Tensor::f_from_slice(&numbers)?.f_view([count, columns])?)
        };
        let calendar = part(values.timestamps.calendar(&self.roles.calendar, rows.clone()))?;
        let fourier = part(values.timestamps.fourier(&self.roles.fourier, rows))?;
        Ok(Tensor::f_cat(&[future, calendar, fourier], 1)?)
    }

    /// Fails if `rows` rows after the last one of `series`, which a forecast of `steps` steps needs, are not known. The model forecasts
    /// `horizon` steps at once.
    pub(super) fn check_known(
        &self,
        series: &Series,
        rows: usize,
        steps: usize,
        horizon: usize,
    ) -> Result<()> {
        let (roles, values) = (&self.roles, self.of(series)?);
        let wanted = || count(steps as u64, "step");
        ensure!(
            roles.past.is_empty() || steps <= horizon,
            "cannot forecast {}: the past covariates {} are not known after the last row, expected at most {horizon} \
             steps, the horizon of the model; try fewer --steps",
            wanted(),
            listed(&roles.past)
        );
        let found = values.later(series.len())?;
        ensure!(
            roles.future.is_empty() || found >= rows,
            "cannot forecast {}: found {} after the last target with all of {}, expected {rows}; try --future FILE with these rows{}",
            wanted(),
            count(found as u64, "row"),
            listed(&roles.future),
            if steps > horizon { ", or fewer --steps" } else { "" }
        );
        let times = &values.timestamps;
        let last = series.len().saturating_add(rows).saturating_sub(1);
        let features =
            [times.calendar(&roles.calendar, last..last + 1), times.fourier(&roles.fourier, last..last + 1)];
        ensure!(
            features.iter().flatten().all(|value| value.is_finite()),
            "cannot forecast {}: the timestamps after the last row are not known, because they are irregular or end with \
             the calendar; expected regular ones for --calendar and --fourier; try --frequency",
            wanted()
        );
        Ok(())
    }
}

/// Returns `rows` of `values: [all, columns]`, with NaN after the end.
fn rows_of(values: &Tensor, rows: Range<usize>) -> text_recognizer::Result<Tensor> {
    let all = values.size()[0] as usize;
    let (start, end) = (rows.start.min(all), rows.end.min(all));
    let part = values.f_narrow(0, start as i64, (end - start) as i64)?;
    if end - start == rows.len() {
        return Ok(part);
    }
    let missing = (rows.len() - (end - start)) as i64;
    let nan = Tensor::f_full([missing, values.size()[1]], f64::NAN, (Kind::Double, Device::Cpu))?;
    Ok(Tensor::f_cat(&[part, nan], 0)?)
}
