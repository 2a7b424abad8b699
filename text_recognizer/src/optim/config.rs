//! The configuration of an optimizer.

use serde::{Deserialize, Serialize};

use super::UpdateRule;
use super::adam::Adam;
use super::rmsprop::RmsProp;
use super::sgd::Sgd;
use crate::error::{Error, Result};

/// The optimizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum), value(rename_all = "snake_case"))]
#[serde(rename_all = "snake_case")]
pub enum OptimizerName {
    /// Stochastic gradient descent.
    Sgd,
    /// Adam.
    Adam,
    /// Adam with decoupled weight decay.
    #[cfg_attr(feature = "cli", value(name = "adamw"))]
    #[serde(rename = "adamw")]
    AdamW,
    /// RMSprop.
    #[cfg_attr(feature = "cli", value(name = "rmsprop"))]
    #[serde(rename = "rmsprop")]
    RmsProp,
}

/// The forms of SGD's momentum, which place the learning rate differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum), value(rename_all = "snake_case"))]
#[serde(rename_all = "snake_case")]
pub enum SgdForm {
    /// `v = momentum v + g; w -= lr v`.
    Pytorch,
    /// `v = momentum v - lr g; w += v`.
    Keras,
}

/// An optimizer and its coefficients; the defaults are those of PyTorch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Update the weights with this optimizer.
    #[cfg_attr(feature = "cli", arg(long = "optimizer", value_enum, default_value_t = Self::default().optimizer))]
    pub optimizer: OptimizerName,
    /// Set the learning rate.
    #[cfg_attr(feature = "cli", arg(long = "lr", default_value_t = Self::default().lr))]
    pub lr: f64,
    /// Set the weight decay: added to the gradient (sgd, adam, rmsprop) or decoupled (adamw) [default: 0; for adamw 0.01].
    #[cfg_attr(feature = "cli", arg(long = "weight_decay"))]
    pub weight_decay: Option<f64>,
    /// Set the momentum of sgd and rmsprop.
    #[cfg_attr(feature = "cli", arg(long = "momentum", default_value_t = Self::default().momentum))]
    pub momentum: f64,
    /// Use Nesterov momentum, for sgd.
    #[cfg_attr(feature = "cli", arg(long = "nesterov", action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = Self::default().nesterov))]
    pub nesterov: bool,
    /// Set the form of the momentum of sgd; the forms differ if a schedule changes the learning rate.
    #[cfg_attr(feature = "cli", arg(long = "sgd_form", value_enum, default_value_t = Self::default().sgd_form))]
    pub sgd_form: SgdForm,
    /// Set the decay rate of the mean of gradients, for adam and adamw.
    #[cfg_attr(feature = "cli", arg(long = "beta1", default_value_t = Self::default().beta1))]
    pub beta1: f64,
    /// Set the decay rate of the mean of squared gradients, for adam and adamw.
    #[cfg_attr(feature = "cli", arg(long = "beta2", default_value_t = Self::default().beta2))]
    pub beta2: f64,
    /// Set the decay rate of the mean of squared gradients, for rmsprop.
    #[cfg_attr(feature = "cli", arg(long = "alpha", default_value_t = Self::default().alpha))]
    pub alpha: f64,
    /// Add this constant to the denominator, for adam, adamw and rmsprop.
    #[cfg_attr(feature = "cli", arg(long = "eps", default_value = format!("{:e}", Self::default().eps)))]
    pub eps: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            optimizer: OptimizerName::Adam,
            lr: 1e-3,
            weight_decay: None,
            momentum: 0.0,
            nesterov: false,
            sgd_form: SgdForm::Pytorch,
            beta1: 0.9,
            beta2: 0.999,
            alpha: 0.99,
            eps: 1e-8,
        }
    }
}

impl OptimizerConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// Fails at the first value that is not allowed; the message has its name.
    pub fn validate(&self) -> Result<()> {
        let positive = |name, value: f64| {
            let ok = value.is_finite() && value > 0.0;
            if ok { Ok(()) } else { Err(Error::invalid(name, value, "a finite number greater than 0")) }
        };
        let share = |name, value: f64| {
            let ok = (0.0..1.0).contains(&value);
            if ok { Ok(()) } else { Err(Error::invalid(name, value, "a number in 0..1, 1 excluded")) }
        };
        positive("lr", self.lr)?;
        positive("eps", self.eps)?;
        share("momentum", self.momentum)?;
        share("beta1", self.beta1)?;
        share("beta2", self.beta2)?;
        share("alpha", self.alpha)?;
        let weight_decay = self.weight_decay();
        if !(weight_decay.is_finite() && weight_decay >= 0.0) {
            return Err(Error::invalid("weight_decay", weight_decay, "a finite number, 0 or greater"));
        }
        if self.nesterov && (self.optimizer != OptimizerName::Sgd || self.momentum == 0.0) {
            return Err(Error::invalid("nesterov", true, "the optimizer sgd and a momentum greater than 0"));
        }
        Ok(())
    }

    /// Returns the weight decay, or the default of the optimizer.
    fn weight_decay(&self) -> f64 {
        self.weight_decay.unwrap_or(if self.optimizer == OptimizerName::AdamW { 0.01 } else { 0.0 })
    }

    /// Returns the update rule of the configuration.
    pub(super) fn rule(&self) -> Result<Box<dyn UpdateRule>> {
        self.validate()?;
        let weight_decay = self.weight_decay();
        let Self { momentum, nesterov, beta1, beta2, alpha, eps, .. } = *self;
        let decoupled = self.optimizer == OptimizerName::AdamW;
        Ok(match self.optimizer {
            OptimizerName::Sgd => {
                Box::new(Sgd { momentum, nesterov, weight_decay, keras: self.sgd_form == SgdForm::Keras })
            }
            OptimizerName::Adam | OptimizerName::AdamW => {
                Box::new(Adam { beta1, beta2, eps, weight_decay, decoupled })
            }
            OptimizerName::RmsProp => Box::new(RmsProp { alpha, eps, momentum, weight_decay }),
        })
    }
}
