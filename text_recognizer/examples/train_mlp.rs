//! Trains an MLP on MNIST with the library alone, saves it and recognizes an image with it:
//! `cargo run -p text_recognizer --example train_mlp`.

use std::path::Path;

use serde_json::json;
use text_recognizer::data::DataInfo;
use text_recognizer::lit_models::Running;
use text_recognizer::prelude::*;

const SEED: u64 = 42;

fn main() -> text_recognizer::Result<()> {
    let path = std::env::temp_dir().join("train_mlp.safetensors");
    train(3, usize::MAX, &path)?;
    // White on black, as MNIST's digits are.
    let digit = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/seven.png");
    let prediction = Recognizer::load(&path)?.predict_path(&digit)?;
    println!("{}: {} (probability {:.3})", digit.display(), prediction.class, prediction.probability);
    println!("The model is in {}", path.display());
    Ok(())
}

/// Trains for `epochs` epochs of at most `batches` batches, writes a checkpoint to `path` and returns the accuracy of the
/// last validation.
pub fn train(epochs: u64, batches: usize, path: &Path) -> text_recognizer::Result<f64> {
    let mnist = Mnist::new(MnistDataset::Mnist, MnistConfig::default())?;
    mnist.prepare_data()?;
    let splits = mnist.setup()?;
    print!("{}", DataInfo::new(mnist.spec(), &splits)?);
    let train = DataLoader::new(splits.train, 128, Shuffle::Full { seed: SEED })?.limit(batches);
    let val = DataLoader::new(splits.val, 1000, Shuffle::No)?.limit(batches);

    let config = MlpConfig::default();
    let model = Mlp::new(&config, &mnist.spec(), Placement::cpu(SEED))?;
    let lit = BaseLitModel::new(Box::new(model), LitConfig::default())?;
    let parameters = lit.parameters();
    let mut optimizer = Optimizer::new(&lit.config().optimizer, parameters)?;

    let mut val_acc = f64::NAN;
    for epoch in 0..epochs {
        let mut loss = Running::default();
        for batch in train.epoch(epoch, 0) {
            let batch = batch?;
            let mut context = ForwardContext::train(SEED, optimizer.steps());
            let output = lit.step(&batch, &mut context)?;
            let gradients = context.gradients(&output.loss, parameters.tensors())?;
            optimizer.step(&gradients, lit.config().optimizer.lr)?;
            loss.add_mean(&output.loss, &output.rows)?;
        }
        let mut accuracy = Accuracy::default();
        for batch in val.epoch(0, 0) {
            let batch = batch?;
            accuracy.update(&lit.predict(&batch.x)?, &batch.y)?;
        }
        val_acc = accuracy.compute().unwrap_or(f64::NAN);
        let train_loss = loss.mean().unwrap_or(f64::NAN);
        println!("epoch {}: train_loss {train_loss:.4}, val_acc {val_acc:.4}", epoch + 1);
    }

    let description = Description {
        model: "mlp".into(),
        model_config: json!(config),
        data: mnist.spec(),
        dtype: DType::Float32,
        task: Recognizer::TASK.into(),
        extras: json!({}),
    };
    checkpoint::save(path, &parameters.snapshot(), &description, &json!({ "val_acc": val_acc }))?;
    Ok(val_acc)
}
