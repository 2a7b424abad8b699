//! The parameters of a model: named, ordered, and initialized from one seed.

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::nn::init::Generator;

/// The device and kind of a model's parameters, and the seed of their initial values.
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
    /// Returns the placement in single precision on the CPU.
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
    /// Creates an empty collection.
    pub fn new(placement: Placement) -> Self {
        let generator = Generator::new(placement.seed);
        Self { names: Vec::new(), tensors: Vec::new(), placement, generator }
    }

    /// Returns the generator of initial weights. The same seed and the same layers in the same order give the weights that
    /// PyTorch has after `torch.manual_seed(seed)`.
    pub fn generator(&mut self) -> &mut Generator {
        &mut self.generator
    }

    /// Adds a parameter with the initial value `value`, on the device and of the kind of the placement, and returns it. The
    /// returned tensor and this collection share memory.
    ///
    /// # Errors
    /// Fails if the name is taken.
    pub fn add(&mut self, name: impl Into<String>, value: Tensor) -> Result<Tensor> {
        let name = name.into();
        if self.names.contains(&name) {
            return Err(Error::invalid("parameter name", name, "a name that no other parameter has"));
        }
        let Placement { device, kind, .. } = self.placement;
        // The kernels need contiguous memory.
        let value = value.f_to_device(device)?.f_to_kind(kind)?.f_contiguous()?;
        let parameter = value.f_detach()?.f_set_requires_grad(true)?;
        self.names.push(name);
        self.tensors.push(parameter.shallow_clone());
        Ok(parameter)
    }

    /// Returns the tensors, in order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Returns the names, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the names and tensors, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.names.iter().map(String::as_str).zip(&self.tensors)
    }

    /// Returns the number of scalars in all parameters.
    pub fn count(&self) -> usize {
        self.tensors.iter().map(Tensor::numel).sum()
    }

    /// Returns the device, kind and seed.
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// Returns a copy of all values by name, for [`Parameters::load`] and [`checkpoint::save`](crate::checkpoint::save).
    pub fn snapshot(&self) -> Vec<(String, Tensor)> {
        self.iter().map(|(name, tensor)| (name.to_owned(), tensor.detach().copy())).collect()
    }

    /// Overwrites all values, unless a tensor does not fit: then none is changed. Values of another kind are converted.
    ///
    /// # Errors
    /// Fails if a tensor is missing, unknown, or of another shape; the message lists each of them.
    pub fn load(&self, values: &[(String, Tensor)]) -> Result<()> {
        let mut wrong = Vec::new();
        for (name, tensor) in self.iter() {
            match values.iter().find(|(n, _)| n == name) {
                None => wrong.push(format!("{name} {:?} is missing", tensor.size())),
                Some((_, value)) if value.size() != tensor.size() => {
                    wrong.push(format!("{name} is {:?}, expected {:?}", value.size(), tensor.size()));
                }
                Some(_) => {}
            }
        }
        let unknown = values.iter().filter(|(name, _)| !self.names.contains(name));
        wrong.extend(unknown.map(|(name, value)| format!("{name} {:?} is not in the model", value.size())));
        if !wrong.is_empty() {
            let value = format!("not that of the model ({})", wrong.join("; "));
            return Err(Error::invalid("the set of weights", value, "the names and shapes of the model"));
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
    fn add_name_twice_fails() {
        assert!(parameters().add("a", Tensor::from(1.0)).is_err());
    }

    #[test]
    fn load_wrong_tensors_fails_with_each_and_writes_none() {
        let parameters = parameters();
        let ones = || Tensor::ones([2, 3], tch::kind::FLOAT_CPU);
        let error = parameters.load(&[("a".into(), ones()), ("b".into(), ones())]).unwrap_err().to_string();
        assert!(error.contains("b [2, 3] is not in the model"), "{error}");
        let error = parameters.load(&[("a".into(), ones().view([3, 2]))]).unwrap_err().to_string();
        assert!(error.contains("a is [3, 2], expected [2, 3]"), "{error}");
        assert_eq!(parameters.tensors()[0].sum(Kind::Float).double_value(&[]), 0.0);
        parameters.load(&[("a".into(), ones())]).unwrap();
        assert_eq!(parameters.tensors()[0].sum(Kind::Float).double_value(&[]), 6.0);
    }
}
