//! The example `train_mlp`, on a part of its data.

use std::path::Path;

use text_recognizer::prelude::*;

#[allow(dead_code, reason = "the function main is for the example's own binary")]
#[path = "../../examples/train_mlp.rs"]
mod train_mlp;

#[test]
fn train_mlp_few_batches_learns_and_its_checkpoint_recognizes_image() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp.safetensors");
    let accuracy = train_mlp::train(1, 60, &path).unwrap();
    assert!(accuracy > 0.8, "{accuracy}");
    let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/seven.png");
    let prediction = Recognizer::load(&path).unwrap().predict_path(image).unwrap();
    assert_eq!(prediction.class, "7", "{prediction:?}");
}
