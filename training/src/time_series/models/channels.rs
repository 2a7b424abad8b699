//! Linear layers over the window of each target, for models that treat targets as channels.

use tch::Tensor;
use text_recognizer::Result;
use text_recognizer::nn::{ForwardContext, Linear, Parameters};

use super::Window;

/// A linear layer over time, with the same weights for all targets, or with weights of its own for each target.
/// `x: [batch, targets, window_size] -> [batch, targets, quantiles * horizon]`.
#[derive(Debug)]
pub(super) struct ChannelLinear {
    name: String,
    layers: Vec<Linear>,
}

impl ChannelLinear {
    /// Creates the layer with PyTorch's initial weights, and adds `NAME.weight` (`[quantiles * horizon, window_size]`) and `NAME.bias` to
    /// `parameters`; if `individual`, `NAME.TARGET.weight` and `NAME.TARGET.bias` for each target.
    pub fn new(parameters: &mut Parameters, name: &str, window: Window, individual: bool) -> Result<Self> {
        let mut layer =
            |name: &str| Linear::new(parameters, name, window.size, window.quantiles * window.horizon);
        let layers = if individual {
            (0..window.targets).map(|target| layer(&format!("{name}.{target}"))).collect::<Result<_>>()?
        } else {
            vec![layer(name)?]
        };
        Ok(Self { name: name.to_owned(), layers })
    }

    pub fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        let y = match &self.layers[..] {
            [shared] => shared.forward(x, context)?,
            each => {
                let outputs = each
                    .iter()
                    .enumerate()
                    .map(|(target, layer)| layer.forward(&x.f_select(1, target as i64)?, context))
                    .collect::<Result<Vec<_>>>()?;
                Tensor::f_stack(&outputs, 1)?
            }
        };
        Ok(context.layer(&self.name, y))
    }
}

/// A linear map of all covariates of the window, which is added to the forecasts of all targets. It has no weights without
/// covariates.
#[derive(Debug)]
pub(super) struct CovariateLinear {
    layer: Option<Linear>,
    window: Window,
}

impl CovariateLinear {
    /// Creates the map with PyTorch's initial weights, and adds `covariates.weight`
    /// (`[horizon * columns, window_size * covariates]`) and `covariates.bias` to `parameters`.
    pub fn new(parameters: &mut Parameters, window: Window) -> Result<Self> {
        let covariates = window.covariates()?;
        let (inputs, outputs) = (window.size * covariates, window.horizon * window.columns());
        let layer =
            if covariates > 0 { Some(Linear::new(parameters, "covariates", inputs, outputs)?) } else { None };
        Ok(Self { layer, window })
    }

    /// Adds the map of `covariates: [batch, window_size * covariates]` to `y: [batch, horizon, columns]`.
    pub fn add(
        &self,
        y: Tensor,
        covariates: Option<&Tensor>,
        context: &mut ForwardContext,
    ) -> Result<Tensor> {
        let (Some(layer), Some(covariates)) = (&self.layer, covariates) else { return Ok(y) };
        let added = layer.forward(covariates, context)?;
        let added = added.f_view([-1, self.window.horizon, self.window.columns()])?;
        let added = context.layer("covariates", added);
        Ok(y.f_add(&added)?)
    }
}
