//! Optimizers with the formulas of PyTorch, a state that can be saved, and one pass over memory on the CPU.

use std::fmt::Debug;

use tch::Tensor;

use crate::error::{Error, Result};
use crate::nn::Parameters;

mod adam;
mod clip;
mod config;
mod rmsprop;
pub mod schedule;
mod sgd;

pub use clip::{all_finite, clip_grad_norm, clip_grad_value, grad_norm};
pub use config::{OptimizerConfig, OptimizerName, SgdForm};
pub use schedule::{Schedule, ScheduleConfig, ScheduleName};

/// The formula by which an optimizer updates one parameter.
///
/// ```
/// use text_recognizer::optim::UpdateRule;
/// use text_recognizer::prelude::*;
/// use text_recognizer::tch::{Tensor, kind};
///
/// /// Sign descent: each weight moves by the learning rate, against the sign of its gradient.
/// #[derive(Debug)]
/// struct SignDescent;
///
/// impl UpdateRule for SignDescent {
///     fn slots(&self) -> &'static [&'static str] {
///         &[]
///     }
///
///     fn update(
///         &self, parameter: &mut Tensor, grad: &Tensor, _state: &mut [Tensor], _step: u64, lr: f64,
///     ) -> text_recognizer::Result<()> {
///         let _ = parameter.f_sub_(&(grad.f_sign()? * lr))?;
///         Ok(())
///     }
/// }
///
/// let mut parameters = Parameters::new(Placement::cpu(42));
/// let weight = parameters.add("weight", Tensor::from_slice(&[1f32, 2.0]))?;
/// let mut optimizer = Optimizer::with_rule(Box::new(SignDescent), &parameters)?;
/// optimizer.step(&[Tensor::from_slice(&[0.3f32, -7.0])], 0.5)?;
/// assert_eq!(Vec::<f32>::try_from(weight.detach())?, [0.5, 2.5]);
/// # Ok::<(), text_recognizer::Error>(())
/// ```
pub trait UpdateRule: Debug {
    /// Returns the names of the tensors that the rule keeps for each parameter. They have the shape of the parameter, and are
    /// zero before the first step.
    fn slots(&self) -> &'static [&'static str];

    /// Updates `parameter` in place. `step` counts from 1; `state` has the tensors of [`UpdateRule::slots`], in order; `grad` has
    /// the shape and kind of `parameter` and may share memory with it.
    ///
    /// # Errors
    /// Fails if libtorch does.
    fn update(
        &self,
        parameter: &mut Tensor,
        grad: &Tensor,
        state: &mut [Tensor],
        step: u64,
        lr: f64,
    ) -> Result<()>;
}

/// An optimizer: it updates parameters from gradients, and keeps the state of its rule.
#[derive(Debug)]
pub struct Optimizer {
    rule: Box<dyn UpdateRule>,
    names: Vec<String>,
    parameters: Vec<Tensor>,
    /// The tensors of the rule for each parameter.
    state: Vec<Vec<Tensor>>,
    steps: u64,
}

impl Optimizer {
    /// Creates an optimizer of `parameters`, with which it shares memory.
    ///
    /// # Errors
    /// Fails if a value of the configuration is not allowed.
    pub fn new(config: &OptimizerConfig, parameters: &Parameters) -> Result<Self> {
        Self::with_rule(config.rule()?, parameters)
    }

    /// Creates an optimizer of `parameters` with a rule of your own, see [`UpdateRule`].
    ///
    /// # Errors
    /// Fails if memory does not hold the rule's tensors.
    pub fn with_rule(rule: Box<dyn UpdateRule>, parameters: &Parameters) -> Result<Self> {
        let slots = rule.slots().len();
        let zeros =
            |p: &Tensor| (0..slots).map(|_| Ok(p.detach().f_zeros_like()?)).collect::<Result<Vec<_>>>();
        Ok(Self {
            rule,
            names: parameters.names().to_vec(),
            parameters: parameters.tensors().iter().map(Tensor::shallow_clone).collect(),
            state: parameters.tensors().iter().map(zeros).collect::<Result<_>>()?,
            steps: 0,
        })
    }

    /// Returns the parameters, in the order of the gradients of [`Optimizer::step`].
    pub fn parameters(&self) -> &[Tensor] {
        &self.parameters
    }

    /// Returns the number of steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Updates all parameters with learning rate `lr`; `grads` are in the order of [`Optimizer::parameters`]. A gradient may have
    /// any layout, and is converted to the kind of its parameter.
    ///
    /// # Errors
    /// Fails if the number of gradients is not that of the parameters, or if a gradient has another shape; nothing is changed
    /// then.
    pub fn step(&mut self, grads: &[Tensor], lr: f64) -> Result<()> {
        if grads.len() != self.parameters.len() {
            return Err(Error::invalid(
                "the number of gradients",
                grads.len(),
                self.parameters.len().to_string(),
            ));
        }
        for ((name, parameter), grad) in self.names.iter().zip(&self.parameters).zip(grads) {
            if grad.size() != parameter.size() {
                return Err(Error::shape(
                    format!("the gradient of {name}"),
                    format!("{:?}", parameter.size()),
                    &grad.size(),
                ));
            }
        }
        self.steps += 1;
        tch::no_grad(|| {
            for ((parameter, grad), state) in self.parameters.iter_mut().zip(grads).zip(&mut self.state) {
                let converted = (grad.kind() != parameter.kind())
                    .then(|| grad.f_to_kind(parameter.kind()))
                    .transpose()?;
                self.rule.update(parameter, converted.as_ref().unwrap_or(grad), state, self.steps, lr)?;
            }
            Ok(())
        })
    }

    /// Returns the state, with names of the form `SLOT.PARAMETER` (`exp_avg.fc1.weight`). The tensors are shared, not copied.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let slots = self.rule.slots();
        let each = self.names.iter().zip(&self.state);
        each.flat_map(|(name, state)| {
            slots
                .iter()
                .zip(state)
                .map(move |(slot, tensor)| (format!("{slot}.{name}"), tensor.shallow_clone()))
        })
        .collect()
    }

    /// Restores the state from [`Optimizer::steps`] and [`Optimizer::state`].
    ///
    /// # Errors
    /// Fails if a tensor is missing or has another shape; nothing is changed then.
    pub fn load_state(&mut self, steps: u64, saved: &[(String, Tensor)]) -> Result<()> {
        let own = self.state();
        let find = |name: &str| saved.iter().find(|(n, _)| n == name).map(|(_, tensor)| tensor);
        for (name, tensor) in &own {
            match find(name) {
                None => {
                    return Err(Error::invalid(
                        "the state of the optimizer",
                        format!("without {name}"),
                        "a tensor for each parameter and slot",
                    ));
                }
                Some(value) if value.size() != tensor.size() => {
                    return Err(Error::shape(
                        format!("the state {name} of the optimizer"),
                        format!("{:?}", tensor.size()),
                        &value.size(),
                    ));
                }
                Some(_) => {}
            }
        }
        for (name, tensor) in own {
            if let Some(value) = find(&name) {
                tensor.shallow_clone().f_copy_(value)?;
            }
        }
        self.steps = steps;
        Ok(())
    }
}
