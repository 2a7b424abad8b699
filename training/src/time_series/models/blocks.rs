//! The common parts of N-BEATS and N-HiTS: blocks that each explain a part of the window and forecast from it.

use tch::Tensor;
use text_recognizer::Result;
use text_recognizer::nn::{ForwardContext, Linear, Parameters};

use super::Window;

/// Hidden layers with ReLU and dropout. `x: [rows, inputs] -> [rows, units]`.
#[derive(Debug)]
pub(super) struct Hidden {
    /// The name and the weights of each layer.
    layers: Vec<(String, Linear)>,
    dropout: f64,
}

impl Hidden {
    /// Creates `layers` layers of `units` units with PyTorch's initial weights, and adds `NAME.hidden.LAYER.weight` and
    /// `NAME.hidden.LAYER.bias` to `parameters`.
    pub fn new(
        parameters: &mut Parameters,
        name: &str,
        inputs: i64,
        (layers, units): (i64, i64),
        dropout: f64,
    ) -> Result<Self> {
        let layer = |at: i64| {
            let name = format!("{name}.hidden.{at}");
            let inputs = if at == 0 { inputs } else { units };
            let layer = Linear::new(parameters, &name, inputs, units)?;
            Ok((name, layer))
        };
        Ok(Self { layers: (0..layers).map(layer).collect::<Result<_>>()?, dropout })
    }

    pub fn forward(&self, x: Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        let mut x = x;
        for (name, layer) in &self.layers {
            let y = layer.forward(&x, context)?;
            let y = context.layer(name, y.f_relu()?);
            x = context.dropout(y, self.dropout)?;
        }
        Ok(x)
    }
}

/// The sizes that all blocks have.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockSizes {
    /// Blocks per stack.
    pub blocks: i64,
    /// Hidden layers of a block.
    pub layers: i64,
    /// Units of a hidden layer.
    pub units: i64,
    pub dropout: f64,
}

/// Builds the blocks of all stacks, `blocks.0`, `blocks.1` and so on. `inputs` returns the inputs of the blocks of a stack, and `block`
/// builds a block from its stack, its name, its hidden layers and whether it is the last one, which explains nothing of the window.
pub(super) fn build<S, B>(
    parameters: &mut Parameters,
    stacks: &[S],
    sizes: BlockSizes,
    inputs: impl Fn(&S) -> i64,
    block: impl Fn(&mut Parameters, &S, &str, Hidden, bool) -> Result<B>,
) -> Result<Vec<B>> {
    let BlockSizes { blocks, layers, units, dropout } = sizes;
    let last = stacks.len() as i64 * blocks - 1;
    let mut all = Vec::new();
    for stack in stacks {
        for _ in 0..blocks {
            let name = format!("blocks.{}", all.len());
            let hidden = Hidden::new(parameters, &name, inputs(stack), (layers, units), dropout)?;
            let is_last = all.len() as i64 == last;
            all.push(block(parameters, stack, &name, hidden, is_last)?);
        }
    }
    Ok(all)
}

/// A block. It maps the rest of the window, `[rows, window_size]`, and the covariates, `[rows, window_size * covariates]`, to the
/// part of the window that it explains, `[rows, window_size]` (`None` for the last block), and to its part of the forecast,
/// `[rows, quantiles * horizon]`.
pub(super) trait Block {
    fn forward(
        &self,
        rest: &Tensor,
        covariates: Option<&Tensor>,
        context: &mut ForwardContext,
    ) -> Result<(Option<Tensor>, Tensor)>;
}

/// Computes the sum of the forecasts of all blocks, with the doubly residual stacking of Oreshkin et al. 2020: each block gets the
/// window without the parts that the blocks before it explain. All targets go through the same blocks.
/// `x: [batch, window_size, features] -> [batch, horizon, targets]`.
pub(super) fn forecast<B: Block>(
    blocks: &[B],
    window: Window,
    x: &Tensor,
    context: &mut ForwardContext,
) -> Result<Tensor> {
    let (targets, covariates) = window.split(x)?;
    let mut rest = targets.f_flatten(0, 1)?; // [batch * targets, window_size]
    let covariates = match covariates {
        Some(values) => {
            let each = values.f_unsqueeze(1)?.f_expand([-1, window.targets, -1], false)?;
            Some(each.f_flatten(0, 1)?)
        }
        None => None,
    };
    let mut total =
        Tensor::f_zeros([rest.size()[0], window.quantiles * window.horizon], (rest.kind(), rest.device()))?;
    for block in blocks {
        let (explained, forecast) = block.forward(&rest, covariates.as_ref(), context)?;
        total = total.f_add(&forecast)?;
        if let Some(explained) = explained {
            rest = rest.f_sub(&explained)?;
        }
    }
    window.by_step(&total)
}

/// Returns the input of the first layer of a block: the rest of the window and the covariates.
pub(super) fn inputs(rest: &Tensor, covariates: Option<&Tensor>) -> Result<Tensor> {
    match covariates {
        Some(covariates) => Ok(Tensor::f_cat(&[rest, covariates], 1)?),
        None => Ok(rest.shallow_clone()),
    }
}
