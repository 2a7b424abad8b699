//! Averages of the weights. Validation and the best checkpoints use them in place of the weights themselves.

use anyhow::{Context, Result};
use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use text_recognizer::Error;
use text_recognizer::nn::Parameters;

use crate::flags::default_flags;

/// The flags for averages of the weights.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AveragingConfig {
    /// Evaluate and save an exponential moving average of the weights with this decay, from 0 to below 1; 0: off.
    #[arg(long = "ema_decay", default_value_t = 0.0)]
    pub ema_decay: f64,
    /// Evaluate and save the mean of the weights at the end of each epoch in the last 20 % of --max_epochs.
    #[arg(long = "stochastic_weight_avg", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub stochastic_weight_avg: bool,
}

impl Default for AveragingConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl AveragingConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// Fails if a value is impossible; the error names the first one.
    pub fn validate(&self) -> text_recognizer::Result<()> {
        if !(0.0..1.0).contains(&self.ema_decay) {
            return Err(Error::invalid("ema_decay", self.ema_decay, "a number from 0 to below 1"));
        }
        if self.ema_decay > 0.0 && self.stochastic_weight_avg {
            let expected = "false together with --ema_decay; try one of the two";
            return Err(Error::invalid("stochastic_weight_avg", true, expected));
        }
        Ok(())
    }

    /// Returns the average that the flags select, or `None` if both are off.
    pub fn build(&self, parameters: &Parameters) -> Option<WeightAverage> {
        if self.ema_decay > 0.0 {
            return Some(WeightAverage::exponential(self.ema_decay, parameters));
        }
        self.stochastic_weight_avg.then(|| WeightAverage::stochastic(parameters))
    }
}

/// A running average of all parameters.
#[derive(Debug)]
pub struct WeightAverage {
    /// `Some`: an exponential average, updated after each step. `None`: a mean, updated after each of the last epochs.
    decay: Option<f64>,
    values: Vec<Tensor>,
    count: u64,
}

impl WeightAverage {
    /// Creates an exponential moving average that starts from the current weights. After each step,
    /// `average = decay * average + (1 - decay) * weights`.
    pub fn exponential(decay: f64, parameters: &Parameters) -> Self {
        let values = parameters.tensors().iter().map(|p| p.detach().copy()).collect();
        Self { decay: Some(decay), values, count: 1 }
    }

    /// Creates a mean of the weights over all calls of [`WeightAverage::after_epoch`] (Izmailov et al., "Averaging
    /// weights leads to wider optima and better generalization", 2018).
    pub fn stochastic(parameters: &Parameters) -> Self {
        Self { decay: None, ..Self::exponential(0.0, parameters) }.emptied()
    }

    fn emptied(mut self) -> Self {
        self.count = 0;
        self
    }

    /// Returns whether the average contains any weights yet.
    pub fn is_active(&self) -> bool {
        self.count > 0
    }

    /// Updates an exponential average after an optimizer step; leaves a mean unchanged.
    ///
    /// # Errors
    /// Fails if libtorch reports an error.
    pub fn after_step(&mut self, parameters: &Parameters) -> Result<()> {
        if let Some(decay) = self.decay {
            self.pull(parameters, 1.0 - decay)?;
        }
        Ok(())
    }

    /// Updates a mean at the end of an epoch; leaves an exponential average unchanged.
    ///
    /// # Errors
    /// Fails if libtorch reports an error.
    pub fn after_epoch(&mut self, parameters: &Parameters) -> Result<()> {
        if self.decay.is_none() {
            self.count += 1;
            self.pull(parameters, 1.0 / self.count as f64)?;
        }
        Ok(())
    }

    fn pull(&mut self, parameters: &Parameters, weight: f64) -> Result<()> {
        tch::no_grad(|| {
            for (value, parameter) in self.values.iter_mut().zip(parameters.tensors()) {
                let _ = value.f_lerp_(parameter, weight)?;
            }
            Ok(())
        })
    }

    /// Exchanges the average and the weights. A second call restores both.
    ///
    /// # Errors
    /// Fails if libtorch reports an error.
    pub fn swap(&mut self, parameters: &Parameters) -> Result<()> {
        tch::no_grad(|| {
            for (value, parameter) in self.values.iter_mut().zip(parameters.tensors()) {
                let weights = parameter.detach().copy();
                parameter.shallow_clone().f_copy_(value)?;
                *value = weights;
            }
            Ok(())
        })
    }

    /// Returns the state for a checkpoint: one average per parameter, in their order, and the number of averaged
    /// weights.
    pub fn state(&self) -> (&[Tensor], u64) {
        (&self.values, self.count)
    }

    /// Restores [`WeightAverage::state`]. `names` are the names of the parameters, and `find` returns the saved average
    /// of a name.
    ///
    /// # Errors
    /// Fails if the average of a parameter is missing or has another shape.
    pub fn load_state(
        &mut self,
        names: &[String],
        count: u64,
        find: impl Fn(&str) -> Option<Tensor>,
    ) -> Result<()> {
        for (value, name) in self.values.iter_mut().zip(names) {
            let saved = find(name)
                .with_context(|| format!("cannot restore the average of {name}: the checkpoint has none"))?;
            value.f_copy_(&saved)?;
        }
        self.count = count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use text_recognizer::nn::Placement;

    fn parameters() -> Parameters {
        let mut parameters = Parameters::new(Placement::cpu(0));
        let _ = parameters.add("w", Tensor::from_slice(&[1f32])).unwrap();
        parameters
    }

    fn set(parameters: &Parameters, value: f32) {
        parameters.load(&[("w".into(), Tensor::from_slice(&[value]))]).unwrap();
    }

    fn get(parameters: &Parameters) -> f32 {
        parameters.tensors()[0].double_value(&[0]) as f32
    }

    #[test]
    fn exponential_average_after_a_step_moves_by_one_minus_decay() {
        let parameters = parameters();
        let mut average = WeightAverage::exponential(0.75, &parameters);
        set(&parameters, 5.0);
        average.after_step(&parameters).unwrap();
        average.after_epoch(&parameters).unwrap();
        average.swap(&parameters).unwrap();
        assert_eq!(get(&parameters), 2.0);
        average.swap(&parameters).unwrap();
        assert_eq!(get(&parameters), 5.0);
    }

    #[test]
    fn stochastic_average_after_epochs_is_their_mean() {
        let parameters = parameters();
        let mut average = WeightAverage::stochastic(&parameters);
        assert!(!average.is_active());
        for value in [2.0, 4.0, 9.0] {
            set(&parameters, value);
            average.after_step(&parameters).unwrap();
            average.after_epoch(&parameters).unwrap();
        }
        average.swap(&parameters).unwrap();
        assert!(average.is_active() && (get(&parameters) - 5.0).abs() < 1e-6);
    }
}
