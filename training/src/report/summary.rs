//! A summary of a model and its data in a few lines.

use std::fmt;

use anyhow::Result;
use tch::Device;
use text_recognizer::data::{Batch, DataLoader};
use text_recognizer::lit_models::LitModel;
use text_recognizer::nn::ForwardContext;

/// The layers of a network, its number of parameters, and the rows of its data.
#[derive(Debug)]
pub struct ModelSummary {
    layers: Vec<Layer>,
    parameters: usize,
    /// Rows of the training, validation and test split.
    rows: [usize; 3],
    device: String,
}

#[derive(Debug)]
struct Layer {
    name: String,
    output: String,
    parameters: usize,
}

impl ModelSummary {
    /// Collects the layers with a forward pass of one row of `train`. `rows` are those of the training, validation and
    /// test split.
    ///
    /// # Errors
    /// Fails if the row cannot be read from the data set.
    pub fn new(lit: &dyn LitModel, train: &DataLoader, rows: [usize; 3], device: Device) -> Result<Self> {
        let mut outputs: Vec<(String, String)> = Vec::new();
        let (x, y) = train.dataset().slice(0, 1)?;
        let mut context = ForwardContext::eval().observed(Box::new(|name, output| {
            let sizes = output.size().into_iter().skip(1).map(|size| format!(", {size}"));
            outputs.push((name.to_owned(), format!("[batch{}]", sizes.collect::<String>())));
        }));
        // Ignore an error: the training that follows reports it for a whole batch.
        let _ = tch::no_grad(|| lit.step(&Batch { x, y, rows: vec![0] }, &mut context));
        drop(context);
        let parameters = lit.parameters();
        let layers = outputs.into_iter().map(|(name, output)| {
            let own =
                |parameter: &str| parameter.strip_prefix(&*name).is_some_and(|rest| rest.starts_with('.'));
            let count = parameters.iter().filter(|(name, _)| own(name)).map(|(_, p)| p.numel()).sum();
            Layer { name, output, parameters: count }
        });
        // Activations have outputs too, but no parameters.
        let layers = layers.filter(|layer| layer.parameters > 0);
        let device = match (device, tch::get_num_threads()) {
            (Device::Cpu, 1) => "cpu, 1 thread".to_owned(),
            (Device::Cpu, threads) => format!("cpu, {threads} threads"),
            (other, _) => format!("{other:?}"),
        };
        Ok(Self { layers: layers.collect(), parameters: parameters.count(), rows, device })
    }
}

impl fmt::Display for ModelSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.layers.iter().map(|layer| layer.name.len());
        let width = names.max().unwrap_or(0).max("layer".len());
        writeln!(f, "  {:<width$}  {:<20}{:>12}", "layer", "output", "parameters")?;
        for Layer { name, output, parameters } in &self.layers {
            writeln!(f, "  {name:<width$}  {output:<20}{parameters:>12}")?;
        }
        let [train, val, test] = self.rows;
        write!(
            f,
            "{} parameters; {train} training rows, {val} validation rows, {test} test rows; {}",
            self.parameters, self.device
        )
    }
}
