//! A model's parameters: named, ordered, initialised from one seed.

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::nn::init::Generator;

/// Where a model lives and what its initial weights are drawn from.
#[derive(Debug, Clone, Copy)]
pub struct Placement {
    /// The device of the parameters.
    pub device: Device,
    /// The floating-point kind of the parameters.
    pub kind: Kind,
    /// The seed of the initial weights.
    pub seed: u64,
}

impl Placement {
    /// Single precision on the CPU.
    pub fn cpu(seed: u64) -> Self {
        Self { device: Device::Cpu, kind: Kind::Float, seed }
    }
}

/// Named tensors that require gradients, in the order in which they were added.
#[derive(Debug)]
pub struct Parameters {
    names: Vec<String>,
    tensors: Vec<Tensor>,
    placement: Placement,
    generator: Generator,
}

impl Parameters {
    /// No parameters yet.
    pub fn new(placement: Placement) -> Self {
        let generator = Generator::new(placement.seed);
        Self { names: Vec::new(), tensors: Vec::new(), placement, generator }
    }

    /// What the initialisers draw from: the same seed and the same layers in the same order give the weights that
    /// PyTorch gives after `torch.manual_seed(seed)`.
    pub fn generator(&mut self) -> &mut Generator {
        &mut self.generator
    }

    /// Adds a parameter and returns a handle to it; the handle and this collection share the values.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn add(&mut self, name: impl Into<String>, value: Tensor) -> Result<Tensor> {
        let name = name.into();
        if self.names.contains(&name) {
            return Err(Error::invalid("parameter name", name, "a name that no other parameter has"));
        }
        let Placement { device, kind, .. } = self.placement;
        // Side by side in memory, as the kernels want it.
        let value = value.f_to_device(device)?.f_to_kind(kind)?.f_contiguous()?;
        let parameter = value.f_detach()?.f_set_requires_grad(true)?;
        self.names.push(name);
        self.tensors.push(parameter.shallow_clone());
        Ok(parameter)
    }

    /// The tensors, in order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The names, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Names and tensors, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.names.iter().map(String::as_str).zip(&self.tensors)
    }

    /// The number of scalars in all parameters.
    pub fn count(&self) -> usize {
        self.tensors.iter().map(Tensor::numel).sum()
    }

    /// Where the parameters live.
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// A copy of all values, for [`Parameters::load`].
    pub fn snapshot(&self) -> Vec<(String, Tensor)> {
        self.iter().map(|(name, tensor)| (name.to_owned(), tensor.detach().copy())).collect()
    }

    /// Overwrites all values; nothing is written unless every tensor fits.
    ///
    /// # Errors
    /// When a tensor is missing, unknown, or of another shape: the message names each of them.
    pub fn load(&self, values: &[(String, Tensor)]) -> Result<()> {
        let mut wrong = Vec::new();
        for (name, tensor) in self.iter() {
            match values.iter().find(|(n, _)| n == name) {
                None => wrong.push(format!("{name} {:?} is missing", tensor.size())),
                Some((_, value)) if value.size() != tensor.size() => {
                    wrong.push(format!("{name} is {:?}, this model's is {:?}", value.size(), tensor.size()));
                }
                Some(_) => {}
            }
        }
        let unknown = values.iter().filter(|(name, _)| !self.names.contains(name));
        wrong.extend(unknown.map(|(name, value)| format!("{name} {:?} is not in this model", value.size())));
        if !wrong.is_empty() {
            let value = format!("not this model's ({})", wrong.join("; "));
            return Err(Error::invalid("the set of weights", value, "the same names and shapes"));
        }
        tch::no_grad(|| {
            for (name, tensor) in self.iter() {
                if let Some((_, value)) = values.iter().find(|(n, _)| n == name) {
                    tensor.shallow_clone().f_copy_(value)?;
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Parameters {
        let mut parameters = Parameters::new(Placement::cpu(0));
        let _ = parameters.add("a", Tensor::zeros([2, 3], tch::kind::FLOAT_CPU)).unwrap();
        parameters
    }

    #[test]
    fn a_name_is_taken_once() {
        assert!(parameters().add("a", Tensor::from(1.0)).is_err());
    }

    #[test]
    fn load_names_every_tensor_that_does_not_fit_and_writes_none() {
        let parameters = parameters();
        let ones = || Tensor::ones([2, 3], tch::kind::FLOAT_CPU);
        let error = parameters.load(&[("a".into(), ones()), ("b".into(), ones())]).unwrap_err().to_string();
        assert!(error.contains("b [2, 3] is not in this model"), "{error}");
        let error = parameters.load(&[("a".into(), ones().view([3, 2]))]).unwrap_err().to_string();
        assert!(error.contains("a is [3, 2], this model's is [2, 3]"), "{error}");
        assert_eq!(parameters.tensors()[0].sum(Kind::Float).double_value(&[]), 0.0);
        parameters.load(&[("a".into(), ones())]).unwrap();
        assert_eq!(parameters.tensors()[0].sum(Kind::Float).double_value(&[]), 6.0);
    }
}
