//! The learning rate as a function of the step.
//!
//! All schedules except `plateau` are pure functions: the rate at step 1000 does not depend on earlier steps. The state of
//! `plateau` is two numbers and a count, which are saved with a run.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::util::any_float;

/// The forms of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum), value(rename_all = "snake_case"))]
#[serde(rename_all = "snake_case")]
pub enum ScheduleName {
    /// A constant rate.
    Constant,
    /// Multiply by 10 every `lr_epochs_per_decade` epochs; changes every epoch.
    Exponential,
    /// Multiply by `lr_gamma` every `lr_step_epochs` epochs.
    Step,
    /// Decrease from `lr` to `lr_min` along half a cosine over the whole run; changes every step.
    Cosine,
    /// Increase to `one_cycle_max_lr`, then decrease to nearly 0; changes every step.
    OneCycle,
    /// Multiply by `lr_gamma` when val_loss has not improved for `lr_patience` validations.
    Plateau,
}

/// A schedule and its constants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Change the learning rate by this schedule; with --one_cycle_max_lr the default is one_cycle.
    #[cfg_attr(feature = "cli", arg(long = "lr_schedule", value_enum, default_value_t = Self::default().lr_schedule))]
    #[cfg_attr(
        feature = "cli",
        arg(default_value_if("one_cycle_max_lr", clap::builder::ArgPredicate::IsPresent, "one_cycle"))
    )]
    pub lr_schedule: ScheduleName,
    /// Increase the rate linearly to its scheduled value over this many first steps.
    #[cfg_attr(feature = "cli", arg(long = "lr_warmup_steps", default_value_t = Self::default().lr_warmup_steps))]
    pub lr_warmup_steps: u64,
    /// Increase (negative: decrease) the rate tenfold in this many epochs, for exponential.
    #[cfg_attr(feature = "cli", arg(long = "lr_epochs_per_decade", default_value_t = Self::default().lr_epochs_per_decade, allow_negative_numbers = true))]
    pub lr_epochs_per_decade: f64,
    /// Change the rate once per this many epochs, for step.
    #[cfg_attr(feature = "cli", arg(long = "lr_step_epochs", default_value_t = Self::default().lr_step_epochs))]
    pub lr_step_epochs: u64,
    /// Multiply the rate by this factor at each change, for step and plateau.
    #[cfg_attr(feature = "cli", arg(long = "lr_gamma", default_value_t = Self::default().lr_gamma))]
    pub lr_gamma: f64,
    /// Change the rate after this many validations without improvement, for plateau.
    #[cfg_attr(feature = "cli", arg(long = "lr_patience", default_value_t = Self::default().lr_patience))]
    pub lr_patience: u64,
    /// End at this rate (cosine), or do not go below it (plateau).
    #[cfg_attr(feature = "cli", arg(long = "lr_min", default_value_t = Self::default().lr_min))]
    pub lr_min: f64,
    /// Increase the rate to this peak, for one_cycle [default: --lr].
    #[cfg_attr(feature = "cli", arg(long = "one_cycle_max_lr"))]
    pub one_cycle_max_lr: Option<f64>,
    /// Finish the schedule in this many steps, for one_cycle [default: the whole run].
    #[cfg_attr(feature = "cli", arg(long = "one_cycle_total_steps"))]
    pub one_cycle_total_steps: Option<u64>,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            lr_schedule: ScheduleName::Constant,
            lr_warmup_steps: 0,
            lr_epochs_per_decade: 20.0,
            lr_step_epochs: 30,
            lr_gamma: 0.1,
            lr_patience: 10,
            lr_min: 0.0,
            one_cycle_max_lr: None,
            one_cycle_total_steps: None,
        }
    }
}

impl ScheduleConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// Fails at the first value that is not allowed; the message has its name.
    pub fn validate(&self) -> Result<()> {
        if self.lr_epochs_per_decade == 0.0 || !self.lr_epochs_per_decade.is_finite() {
            return Err(Error::invalid(
                "lr_epochs_per_decade",
                self.lr_epochs_per_decade,
                "a number of epochs, not 0",
            ));
        }
        if self.lr_step_epochs == 0 {
            return Err(Error::invalid("lr_step_epochs", 0, "at least 1"));
        }
        if !(self.lr_gamma > 0.0 && self.lr_gamma.is_finite()) {
            return Err(Error::invalid("lr_gamma", self.lr_gamma, "a finite number greater than 0"));
        }
        if !(self.lr_min >= 0.0 && self.lr_min.is_finite()) {
            return Err(Error::invalid("lr_min", self.lr_min, "a finite number, 0 or greater"));
        }
        if let Some(max_lr) = self.one_cycle_max_lr
            && !(max_lr > 0.0 && max_lr.is_finite())
        {
            return Err(Error::invalid("one_cycle_max_lr", max_lr, "a finite number greater than 0"));
        }
        if self.one_cycle_total_steps == Some(0) {
            return Err(Error::invalid("one_cycle_total_steps", 0, "at least 1"));
        }
        if self.one_cycle_max_lr.is_some() && self.lr_schedule != ScheduleName::OneCycle {
            return Err(Error::invalid("one_cycle_max_lr", "given", "the schedule one_cycle"));
        }
        Ok(())
    }
}

/// The state of a plateau schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    /// The lowest loss so far; `None` before the first one below infinity.
    #[serde(with = "any_float")]
    pub best: Option<f64>,
    /// The number of validations since then.
    pub waited: u64,
    /// The product of the factors so far.
    #[serde(with = "any_float")]
    pub scale: f64,
}

/// A schedule for a run of a known length.
#[derive(Debug, Clone)]
pub struct Schedule {
    config: ScheduleConfig,
    lr: f64,
    total_steps: u64,
    plateau: Plateau,
}

impl Schedule {
    /// Creates the schedule of a run of `total_steps` optimizer steps with base rate `lr`.
    ///
    /// # Errors
    /// Fails if a value of the configuration is not allowed.
    pub fn new(config: &ScheduleConfig, lr: f64, total_steps: u64) -> Result<Self> {
        config.validate()?;
        let plateau = Plateau { best: None, waited: 0, scale: 1.0 };
        Ok(Self { config: config.clone(), lr, total_steps: total_steps.max(1), plateau })
    }

    /// Returns the learning rate of optimizer step `step` (from 0) in epoch `epoch` (from 0).
    pub fn lr(&self, step: u64, epoch: u64) -> f64 {
        let c = &self.config;
        let scheduled = match c.lr_schedule {
            ScheduleName::Constant => self.lr,
            ScheduleName::Exponential => self.lr * 10f64.powf(epoch as f64 / c.lr_epochs_per_decade),
            ScheduleName::Step => {
                self.lr * c.lr_gamma.powi((epoch / c.lr_step_epochs).min(i32::MAX as u64) as i32)
            }
            ScheduleName::Cosine => {
                let done = step.min(self.total_steps) as f64 / self.total_steps as f64;
                c.lr_min + (self.lr - c.lr_min) * (1.0 + (PI * done).cos()) / 2.0
            }
            ScheduleName::OneCycle => one_cycle(
                c.one_cycle_max_lr.unwrap_or(self.lr),
                c.one_cycle_total_steps.unwrap_or(self.total_steps),
                step,
            ),
            ScheduleName::Plateau => (self.lr * self.plateau.scale).max(c.lr_min),
        };
        if step < c.lr_warmup_steps {
            scheduled * (step + 1) as f64 / c.lr_warmup_steps as f64
        } else {
            scheduled
        }
    }

    /// Returns the number of steps over which the rates are planned; `None` if they do not depend on it.
    pub fn planned_steps(&self) -> Option<u64> {
        match self.config.lr_schedule {
            ScheduleName::Cosine => Some(self.total_steps),
            ScheduleName::OneCycle if self.config.one_cycle_total_steps.is_none() => Some(self.total_steps),
            _ => None,
        }
    }

    /// Updates a plateau schedule with the loss of a validation, as `torch.optim.lr_scheduler.ReduceLROnPlateau` with a relative
    /// threshold of 1e-4: its best loss is infinite at first, and NaN is never better.
    pub fn observe(&mut self, val_loss: f64) {
        let plateau = &mut self.plateau;
        if val_loss < plateau.best.unwrap_or(f64::INFINITY) * (1.0 - 1e-4) {
            (plateau.best, plateau.waited) = (Some(val_loss), 0);
            return;
        }
        plateau.waited = plateau.waited.saturating_add(1);
        if plateau.waited > self.config.lr_patience {
            plateau.waited = 0;
            plateau.scale *= self.config.lr_gamma;
        }
    }

    /// Returns the state, which must be saved to continue a run.
    pub fn state(&self) -> &Plateau {
        &self.plateau
    }

    /// Restores [`Schedule::state`].
    pub fn load_state(&mut self, state: Plateau) {
        self.plateau = state;
    }
}

/// Returns the rate of a one-cycle schedule (Smith and Topin, "Super-convergence", 2018) with the defaults of
/// `torch.optim.lr_scheduler.OneCycleLR`: along a cosine from `max_lr / 25` up to `max_lr` over 30 % of the steps, then down to
/// `max_lr / 250000`, which is also the rate of later steps.
fn one_cycle(max_lr: f64, total_steps: u64, step: u64) -> f64 {
    let (initial, last) = (max_lr / 25.0, max_lr / 25.0 / 1e4);
    let up = 0.3 * total_steps as f64 - 1.0;
    let end = total_steps as f64 - 1.0;
    let step = (step as f64).min(end);
    let cosine = |from: f64, to: f64, share: f64| to + (from - to) / 2.0 * (1.0 + (PI * share).cos());
    if step <= up {
        cosine(initial, max_lr, step / up)
    } else {
        cosine(max_lr, last, (step - up) / (end - up))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(config: ScheduleConfig, lr: f64, total: u64, steps_per_epoch: u64) -> Vec<f64> {
        let schedule = Schedule::new(&config, lr, total).unwrap();
        (0..total).map(|step| schedule.lr(step, step / steps_per_epoch)).collect()
    }

    fn close(got: &[f64], expected: &[f64]) {
        for (g, e) in got.iter().zip(expected) {
            assert!((g - e).abs() <= 1e-12 * e.abs().max(1e-12), "{got:?} is not {expected:?}");
        }
        assert_eq!(got.len(), expected.len());
    }

    fn named(name: ScheduleName) -> ScheduleConfig {
        ScheduleConfig { lr_schedule: name, ..ScheduleConfig::default() }
    }

    #[test]
    fn exponential_twenty_epochs_per_decade_matches_formula() {
        let got = rates(named(ScheduleName::Exponential), 1e-8, 100, 1);
        let expected: Vec<f64> = (0..100).map(|epoch| 1e-8 * 10f64.powf(f64::from(epoch) / 20.0)).collect();
        close(&got, &expected);
    }

    #[test]
    fn step_changes_every_step_epochs() {
        let config = ScheduleConfig { lr_step_epochs: 2, lr_gamma: 0.5, ..named(ScheduleName::Step) };
        close(&rates(config, 1.0, 6, 1), &[1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
    }

    #[test]
    fn cosine_and_warmup_match_formulas() {
        close(&rates(named(ScheduleName::Cosine), 1.0, 2, 1), &[1.0, 0.5]);
        let config = ScheduleConfig { lr_warmup_steps: 4, ..ScheduleConfig::default() };
        close(&rates(config, 1.0, 6, 1), &[0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
    }

    /// `torch.optim.lr_scheduler.OneCycleLR(SGD([p], lr=1), max_lr=0.1, total_steps=10)`, `get_last_lr()` by step.
    #[test]
    fn one_cycle_matches_pytorch() {
        let config = ScheduleConfig { one_cycle_max_lr: Some(0.1), ..named(ScheduleName::OneCycle) };
        let expected = [
            0.004,
            0.052,
            0.1,
            0.095_048_463_201_347_38,
            0.081_174_565_394_976_3,
            0.061_126_202_193_628_93,
            0.038_874_197_806_371_07,
            0.018_825_834_605_023_7,
            0.004_951_936_798_652_629,
            4e-7,
        ];
        let got = rates(config, 1.0, 10, 1);
        for (g, e) in got.iter().zip(expected) {
            assert!((g - e).abs() < 1e-12, "{got:?}");
        }
    }

    #[test]
    fn plateau_waits_then_decreases_and_resumes_from_state() {
        let config = ScheduleConfig { lr_patience: 1, lr_gamma: 0.5, ..named(ScheduleName::Plateau) };
        let mut schedule = Schedule::new(&config, 1.0, 10).unwrap();
        let mut seen = Vec::new();
        for loss in [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0] {
            schedule.observe(loss);
            seen.push(schedule.lr(0, 0));
            let mut resumed = Schedule::new(&config, 1.0, 10).unwrap();
            resumed.load_state(schedule.state().clone());
            schedule = resumed;
        }
        assert_eq!(seen, [1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
    }

    /// `torch.optim.lr_scheduler.ReduceLROnPlateau(SGD([p], lr=1), factor=0.5, patience=1)`, `get_last_lr()` after each loss.
    #[test]
    fn plateau_of_nan_and_infinity_matches_pytorch_also_after_a_resume() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        let cases: [(&[f64], &[f64]); 5] = [
            (&[inf, inf, inf, 1.0, 0.5], &[1.0, 0.5, 0.5, 0.5, 0.5]),
            (&[nan, nan, 3.0, nan, nan, 2.0], &[1.0, 0.5, 0.5, 0.5, 0.25, 0.25]),
            (&[3.0, inf, nan, 2.0], &[1.0, 1.0, 0.5, 0.5]),
            (&[-inf, -1.0, -2.0, -inf], &[1.0, 1.0, 0.5, 0.5]),
            (&[-1.0, -1.0, -2.0, -2.0, -2.0], &[1.0; 5]),
        ];
        let config = ScheduleConfig { lr_patience: 1, lr_gamma: 0.5, ..named(ScheduleName::Plateau) };
        for (losses, expected) in cases {
            let mut schedule = Schedule::new(&config, 1.0, 10).unwrap();
            let mut seen = Vec::new();
            for &loss in losses {
                schedule.observe(loss);
                seen.push(schedule.lr(0, 0));
                let state = serde_json::to_string(schedule.state()).unwrap();
                schedule = Schedule::new(&config, 1.0, 10).unwrap();
                schedule.load_state(serde_json::from_str(&state).unwrap());
            }
            assert_eq!(seen, expected, "{losses:?}");
        }
    }

    #[test]
    fn new_value_not_allowed_fails_with_its_name() {
        let cases = [
            (ScheduleConfig { lr_step_epochs: 0, ..ScheduleConfig::default() }, "lr_step_epochs"),
            (
                ScheduleConfig { lr_epochs_per_decade: 0.0, ..ScheduleConfig::default() },
                "lr_epochs_per_decade",
            ),
            (ScheduleConfig { lr_gamma: f64::NAN, ..ScheduleConfig::default() }, "lr_gamma"),
            (ScheduleConfig { lr_min: -1.0, ..ScheduleConfig::default() }, "lr_min"),
            (ScheduleConfig { one_cycle_max_lr: Some(0.0), ..ScheduleConfig::default() }, "one_cycle_max_lr"),
            (
                ScheduleConfig { one_cycle_total_steps: Some(0), ..ScheduleConfig::default() },
                "one_cycle_total_steps",
            ),
            (ScheduleConfig { one_cycle_max_lr: Some(0.1), ..named(ScheduleName::Step) }, "one_cycle_max_lr"),
        ];
        for (config, name) in cases {
            let error = Schedule::new(&config, 1.0, 10).unwrap_err().to_string();
            assert!(error.contains(name), "{error} lacks {name}");
        }
    }
}
