//! Whole networks, from input to prediction.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tch::Tensor;

use crate::data::DataSpec;
use crate::error::{Error, Result};
use crate::nn::{ForwardContext, Parameters, Placement};

mod mlp;

pub use mlp::{Mlp, MlpConfig};

/// A network.
///
/// ```
/// use text_recognizer::nn::Linear;
/// use text_recognizer::prelude::*;
/// use text_recognizer::tch::{Tensor, kind};
///
/// /// Logistic regression: `x: [batch, 4] -> [batch, 3]`.
/// #[derive(Debug)]
/// struct Logistic {
///     parameters: Parameters,
///     linear: Linear,
/// }
///
/// impl Logistic {
///     fn new(placement: Placement) -> text_recognizer::Result<Self> {
///         let mut parameters = Parameters::new(placement);
///         Ok(Self { linear: Linear::new(&mut parameters, "linear", 4, 3)?, parameters })
///     }
/// }
///
/// impl Model for Logistic {
///     fn parameters(&self) -> &Parameters {
///         &self.parameters
///     }
///
///     fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> text_recognizer::Result<Tensor> {
///         self.linear.forward(x, context)
///     }
/// }
///
/// let lit = BaseLitModel::new(Box::new(Logistic::new(Placement::cpu(42))?), LitConfig::default())?;
/// assert_eq!(lit.predict(&Tensor::rand([2, 4], kind::FLOAT_CPU))?.size(), [2, 3]);
/// # Ok::<(), text_recognizer::Error>(())
/// ```
pub trait Model: Debug {
    /// Returns the parameters, in the order of construction.
    fn parameters(&self) -> &Parameters;

    /// Returns the prediction for a batch of inputs: `x: [batch, ...input_dims] -> [batch, ...output_dims]`.
    ///
    /// # Errors
    /// Fails if the shape of `x` is not the shape that the network was built for.
    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor>;
}

/// A function that builds a model from its configuration as JSON.
type Build = fn(&Value, &DataSpec, Placement) -> Result<Box<dyn Model>>;

/// The models that can be built by name, one line each.
static MODELS: &[(&str, Build)] =
    &[("mlp", |config, data, placement| Ok(Box::new(Mlp::new(&parse(config)?, data, placement)?)))];

/// Returns the names that [`build`] takes.
pub fn names() -> impl Iterator<Item = &'static str> {
    MODELS.iter().map(|(name, _)| *name)
}

/// Builds the model `name` of this library; `config` is its configuration as JSON, in which absent fields have their
/// defaults.
///
/// # Errors
/// Fails if the library has no model of that name, or if a field of `config` is unknown or has a value that is not allowed.
pub fn build(name: &str, config: &Value, data: &DataSpec, placement: Placement) -> Result<Box<dyn Model>> {
    let Some((_, build)) = MODELS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<_> = names().collect();
        return Err(Error::invalid(
            "the model",
            name,
            format!("a model of the library ({})", known.join(", ")),
        ));
    };
    build(config, data, placement)
}

fn parse<C: DeserializeOwned>(config: &Value) -> Result<C> {
    C::deserialize(config)
        .map_err(|source| Error::Json { what: "cannot read the configuration of the model".into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn data() -> DataSpec {
        DataSpec { input_dims: vec![4], output_dims: vec![3], ..DataSpec::default() }
    }

    #[test]
    fn build_each_name_returns_model_for_shapes() {
        for name in names() {
            let model = build(name, &json!({}), &data(), Placement::cpu(0)).unwrap();
            let x = Tensor::zeros([2, 4], tch::kind::FLOAT_CPU);
            assert_eq!(model.forward(&x, &mut ForwardContext::eval()).unwrap().size(), [2, 3], "{name}");
        }
    }

    #[test]
    fn build_config_sets_sizes() {
        let model = build("mlp", &json!({"fc1": 5, "fc2": 2}), &data(), Placement::cpu(0)).unwrap();
        assert_eq!(model.parameters().count(), 5 * (4 + 1) + 2 * (5 + 1) + 3 * (2 + 1));
    }

    #[test]
    fn build_unknown_name_or_field_fails() {
        let error = |name, config| build(name, &config, &data(), Placement::cpu(0)).unwrap_err().to_string();
        assert_eq!(error("dnn", json!({})), "the model is dnn: expected a model of the library (mlp)");
        assert!(error("mlp", json!({"fc3": 1})).contains("unknown field `fc3`"));
    }
}
