//! Trains an MLP on MNIST with the library alone: `cargo run -p text_recognizer --example train_mlp`.

use text_recognizer::data::{DataInfo, DataLoader, DataModule, Mnist, MnistConfig, MnistDataset, Shuffle};
use text_recognizer::lit_models::{Accuracy, BaseLitModel, LitConfig, LitModel, Running};
use text_recognizer::models::{Mlp, MlpConfig};
use text_recognizer::nn::{ForwardContext, Placement};
use text_recognizer::optim::Optimizer;

const SEED: u64 = 42;

fn main() -> text_recognizer::Result<()> {
    let mnist = Mnist::new(MnistDataset::Mnist, MnistConfig::default())?;
    mnist.prepare_data()?;
    let splits = mnist.setup()?;
    print!("{}", DataInfo::new(mnist.config(), &splits)?);
    let train = DataLoader::new(splits.train, 128, Shuffle::Full { seed: SEED })?;
    let val = DataLoader::new(splits.val, 1000, Shuffle::No)?;

    let model = Mlp::new(&MlpConfig::default(), &mnist.config(), Placement::cpu(SEED))?;
    let lit = BaseLitModel::new(Box::new(model), LitConfig::default())?;
    let parameters = lit.parameters();
    let mut optimizer = Optimizer::new(&lit.config().optimizer, parameters)?;

    for epoch in 0..3 {
        let mut loss = Running::default();
        for batch in train.epoch(epoch, 0) {
            let batch = batch?;
            let mut context = ForwardContext::train(SEED, optimizer.steps());
            let output = lit.step(&batch, &mut context)?;
            let gradients = context.gradients(&output.loss, parameters.tensors())?;
            optimizer.step(&gradients, lit.config().optimizer.lr)?;
            loss.add_mean(&output.loss, batch.len() as i64)?;
        }
        let mut accuracy = Accuracy::default();
        for batch in val.epoch(0, 0) {
            let batch = batch?;
            accuracy.update(&lit.predict(&batch.x)?, &batch.y)?;
        }
        let (loss, accuracy) = (loss.mean().unwrap_or(f64::NAN), accuracy.compute().unwrap_or(f64::NAN));
        println!("epoch {}: train_loss {loss:.4}, val_acc {accuracy:.4}", epoch + 1);
    }
    Ok(())
}
