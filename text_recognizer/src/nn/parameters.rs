//! The parameters of a model: named, ordered, and initialized from one seed.

use std::collections::{HashMap, HashSet};

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::nn::init::Generator;

/// The device and kind of a model's parameters, the seed of their initial values, and the limit of their number.
#[derive(Debug, Clone, Copy)]
pub struct Placement {
    /// The device of the parameters.
    pub device: Device,
    /// The floating-point kind of the parameters.
    pub kind: Kind,
    /// The seed of the initial weights.
    pub seed: u64,
    /// The most values that all initial weights may have together; `None` for no limit.
    pub limit: Option<usize>,
}

impl Placement {
    /// Returns the placement in single precision on the CPU.
    pub fn cpu(seed: u64) -> Self {
        Self { device: Device::Cpu, kind: Kind::Float, seed, limit: None }
    }

    /// Returns the placement for a model that `weights` are then loaded into. A configuration of a much larger model is an error
    /// before memory is taken. The limit is above the size of the weights, so that [`Parameters::load`] can list what is missing.
    pub fn for_weights(self, weights: &[(String, Tensor)]) -> Self {
        const MORE: usize = 1 << 16;
        let size: usize = weights.iter().map(|(_, tensor)| tensor.numel()).sum();
        Self { limit: Some(2 * size + MORE), ..self }
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
        let Placement { seed, limit, .. } = placement;
        let generator = limit.map_or_else(|| Generator::new(seed), |limit| Generator::limited(seed, limit));
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
        /// The most tensors that an error lists.
        const LISTED: usize = 20;
        let by_name: HashMap<&str, &Tensor> =
            values.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let mut wrong = Vec::new();
        for (name, tensor) in self.iter() {
            match by_name.get(name) {
                None => wrong.push(format!("{name} {:?} is missing", tensor.size())),
                Some(value) if value.size() != tensor.size() => {
                    wrong.push(format!("{name} is {:?}, expected {:?}", value.size(), tensor.size()));
                }
                Some(_) => {}
            }
        }
        let known: HashSet<&String> = self.names.iter().collect();
        let unknown = values.iter().filter(|(name, _)| !known.contains(name));
        wrong.extend(unknown.map(|(name, value)| format!("{name} {:?} is not in the model", value.size())));
        if !wrong.is_empty() {
            let others = wrong.len().saturating_sub(LISTED);
            wrong.truncate(LISTED);
            wrong.extend((others > 0).then(|| format!("... and {others} more")));
            let value = format!("not that of the model ({})", wrong.join("; "));
            return Err(Error::invalid("the set of weights", value, "the names and shapes of the model"));
        }
        tch::no_grad(|| {
            for (name, tensor) in self.iter() {
                if let Some(value) = by_name.get(name) {
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
        let many: Vec<_> = (0..100).map(|at| (format!("{at}"), ones())).collect();
        let error = parameters.load(&many).unwrap_err().to_string();
        assert!(error.contains("18 [2, 3] is not in the model; ... and 81 more"), "{error}");
        parameters.load(&[("a".into(), ones())]).unwrap();
        assert_eq!(parameters.tensors()[0].sum(Kind::Float).double_value(&[]), 6.0);
    }
}
