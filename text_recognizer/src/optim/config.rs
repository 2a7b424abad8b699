//! Which optimiser, and its coefficients.

use serde::{Deserialize, Serialize};

use super::UpdateRule;
use super::adam::Adam;
use super::rmsprop::RmsProp;
use super::sgd::Sgd;
use crate::error::{Error, Result};

/// The optimisers.
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

/// Where SGD's momentum has its learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum), value(rename_all = "snake_case"))]
#[serde(rename_all = "snake_case")]
pub enum SgdForm {
    /// `v = momentum v + g; w -= lr v`.
    Pytorch,
    /// `v = momentum v - lr g; w += v`.
    Keras,
}

/// An optimiser and its coefficients; the defaults are PyTorch's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Optimiser.
    #[cfg_attr(feature = "cli", arg(long = "optimizer", value_enum, default_value_t = Self::default().optimizer))]
    pub optimizer: OptimizerName,
    /// Learning rate.
    #[cfg_attr(feature = "cli", arg(long = "lr", default_value_t = Self::default().lr))]
    pub lr: f64,
    /// Weight decay: added to the gradient (sgd, adam, rmsprop) or decoupled (adamw) [default: 0, of adamw 0.01].
    #[cfg_attr(feature = "cli", arg(long = "weight_decay"))]
    pub weight_decay: Option<f64>,
    /// Momentum of sgd and rmsprop.
    #[cfg_attr(feature = "cli", arg(long = "momentum", default_value_t = Self::default().momentum))]
    pub momentum: f64,
    /// Nesterov momentum, for sgd.
    #[cfg_attr(feature = "cli", arg(long = "nesterov", action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = Self::default().nesterov))]
    pub nesterov: bool,
    /// Where sgd's momentum has its learning rate; they differ as soon as a schedule changes it.
    #[cfg_attr(feature = "cli", arg(long = "sgd_form", value_enum, default_value_t = Self::default().sgd_form))]
    pub sgd_form: SgdForm,
    /// Decay of adam's first moment.
    #[cfg_attr(feature = "cli", arg(long = "beta1", default_value_t = Self::default().beta1))]
    pub beta1: f64,
    /// Decay of adam's second moment.
    #[cfg_attr(feature = "cli", arg(long = "beta2", default_value_t = Self::default().beta2))]
    pub beta2: f64,
    /// Decay of rmsprop's squared gradients.
    #[cfg_attr(feature = "cli", arg(long = "alpha", default_value_t = Self::default().alpha))]
    pub alpha: f64,
    /// Added to the denominator of adam and rmsprop.
    #[cfg_attr(feature = "cli", arg(long = "eps", default_value = "1e-8"))]
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
    /// Refuses what cannot be optimised with.
    ///
    /// # Errors
    /// Names the first impossible value.
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

    fn weight_decay(&self) -> f64 {
        self.weight_decay.unwrap_or(if self.optimizer == OptimizerName::AdamW { 0.01 } else { 0.0 })
    }

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
