//! From a checkpoint and an image to a class.

use std::path::{Path, PathBuf};

use image::{DynamicImage, GrayImage, RgbImage};
use serde_json::{Value, json};
use tch::{Kind, Tensor};
use text_recognizer::data::{ImageSpec, parse_idx};
use text_recognizer::prelude::*;
use text_recognizer::util::read_image;

/// A checkpoint that the last program of format 1 wrote.
fn format1(run: &str) -> PathBuf {
    let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../training/tests/golden/format1");
    runs.join(run).join("checkpoints/best.safetensors")
}

/// The first `n` test images of MNIST, as images.
fn digits(n: i64) -> Vec<GrayImage> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/raw/mnist/t10k-images-idx3-ubyte.gz");
    let images = parse_idx(&std::fs::read(path).unwrap(), "images").unwrap();
    let bytes = |row| Vec::<u8>::try_from(images.select(0, row).contiguous().view(-1)).unwrap();
    (0..n).map(|row| GrayImage::from_raw(28, 28, bytes(row)).unwrap()).collect()
}

fn data() -> DataSpec {
    DataSpec {
        input_dims: vec![1, 4, 6],
        output_dims: vec![3],
        mapping: ["a", "b", "c"].map(String::from).to_vec(),
        image: Some(ImageSpec { height: 4, width: 6, mean: 0.25, std: 0.5 }),
    }
}

fn config() -> Value {
    json!({"fc1": 5, "fc2": 4})
}

fn mlp() -> Box<dyn Model> {
    text_recognizer::models::build("mlp", &config(), &data(), Placement::cpu(1)).unwrap()
}

fn description() -> Description {
    Description {
        model: "mlp".into(),
        model_config: config(),
        data: data(),
        dtype: DType::Float32,
        task: "classification".into(),
        extras: json!({}),
    }
}

/// Saves a checkpoint of [`mlp`] and returns why it is not loaded.
fn load_error(weights: &[(String, Tensor)], description: &Description) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    checkpoint::save(&path, weights, description, &json!({})).unwrap();
    Recognizer::load(&path).unwrap_err().to_string()
}

fn close(got: &Prediction, expected: &Prediction) {
    assert_eq!(got.class, expected.class);
    for (got, expected) in got.top.iter().zip(&expected.top) {
        assert!(got.0 == expected.0 && (got.1 - expected.1).abs() < 1e-6, "{got:?} is not {expected:?}");
    }
}

#[test]
fn recognizer_format1_checkpoint_predicts_as_data_set_does() {
    let folder = tempfile::tempdir().unwrap();
    let recognizer = Recognizer::load(format1("mlp-mnist")).unwrap().top_k(10);
    let weights = checkpoint::load(format1("mlp-mnist")).unwrap().weights;
    let module = Mnist::new(MnistDataset::Mnist, MnistConfig::default()).unwrap();
    assert_eq!(recognizer.data(), &module.spec());
    let mlp = MlpConfig { fc1: 4, fc2: 3, ..MlpConfig::default() };
    let mlp = Mlp::new(&mlp, &module.spec(), Placement::cpu(0)).unwrap();
    mlp.parameters().load(&weights).unwrap();
    let (x, _) = module.setup().unwrap().test.unwrap().slice(0, 300).unwrap();
    let logits = tch::no_grad(|| mlp.forward(&x, &mut ForwardContext::eval())).unwrap();
    let expected = Vec::<Vec<f64>>::try_from(logits.softmax(-1, Kind::Double)).unwrap();

    let paths: Vec<_> = (0..300).map(|row| folder.path().join(format!("{row}.png"))).collect();
    digits(300).iter().zip(&paths).for_each(|(image, path)| image.save(path).unwrap());
    let predictions = recognizer.predict_paths(&paths).unwrap();
    assert_eq!(predictions.len(), 300);
    for (prediction, expected) in predictions.iter().zip(&expected) {
        assert_eq!(prediction.top.len(), 10);
        assert_eq!((&prediction.class, prediction.probability), (&prediction.top[0].0, prediction.top[0].1));
        assert!(prediction.top.is_sorted_by(|a, b| a.1 >= b.1));
        for (class, probability) in &prediction.top {
            let expected = expected[class.parse::<usize>().unwrap()];
            assert!((probability - expected).abs() < 1e-6, "{class}: {probability} is not {expected}");
        }
    }
    close(&recognizer.predict_path(&paths[7]).unwrap(), &predictions[7]);
}

#[test]
fn recognizer_saved_checkpoint_predicts_as_model_does() {
    let folder = tempfile::tempdir().unwrap();
    let (path, image) = (folder.path().join("x.safetensors"), folder.path().join("x.png"));
    let model = mlp();
    let note = json!({"epoch": 3});
    checkpoint::save(&path, &model.parameters().snapshot(), &description(), &note).unwrap();
    assert_eq!(checkpoint::load(&path).unwrap().metadata["epoch"], 3);
    RgbImage::from_fn(60, 40, |x, y| image::Rgb([x as u8 * 4, y as u8 * 6, 200])).save(&image).unwrap();

    let loaded = Recognizer::load(&path).unwrap();
    let expected = Recognizer::new(model, data()).unwrap().predict_path(&image).unwrap();
    assert_eq!(expected.top.len(), 3, "there are fewer classes than the default of top_k");
    assert!((expected.top.iter().map(|(_, probability)| probability).sum::<f64>() - 1.0).abs() < 1e-12);
    let bytes = std::fs::read(&image).unwrap();
    assert_eq!(loaded.predict_path(&image).unwrap(), expected);
    assert_eq!(loaded.predict_bytes(&bytes).unwrap(), expected);
    for grayscale in [false, true] {
        assert_eq!(loaded.predict(&read_image(&image, grayscale).unwrap()).unwrap(), expected);
    }
    assert_eq!(loaded.predict_paths(&[] as &[&Path]).unwrap(), []);
    assert_eq!(loaded.top_k(0).predict_path(&image).unwrap().top, expected.top[..1]);
}

/// Resizing an image of one gray value gives that value, so the input is known without the filter.
#[test]
fn recognizer_uniform_image_is_resized_and_normalized() {
    let model = mlp();
    let x = Tensor::full([1, 1, 4, 6], (51.0 / 255.0 - 0.25) / 0.5, tch::kind::FLOAT_CPU);
    let logits = model.forward(&x, &mut ForwardContext::eval()).unwrap();
    let expected = logits.softmax(-1, Kind::Double).max().double_value(&[]);
    let recognizer = Recognizer::new(model, data()).unwrap();
    for (height, width) in [(4, 6), (40, 60), (1, 1), (3, 50)] {
        let image = Tensor::full([height, width], 51, (Kind::Uint8, tch::Device::Cpu));
        let got = recognizer.predict(&image).unwrap().probability;
        assert!((got - expected).abs() < 1e-6, "{height} x {width}: {got} is not {expected}");
    }
}

#[test]
fn recognizer_plain_state_dict_predicts_as_checkpoint_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state_dict.safetensors");
    let image = Tensor::randint(256, [9, 9], tch::kind::INT64_CPU).to_kind(Kind::Uint8);
    for kind in [Kind::Float, Kind::Double, Kind::Half] {
        let model = mlp();
        let weights = model.parameters().snapshot();
        let weights: Vec<_> = weights.iter().map(|(name, tensor)| (name, tensor.to_kind(kind))).collect();
        Tensor::write_safetensors(&weights, &path).unwrap();
        let expected = Recognizer::new(model, data()).unwrap().predict(&image).unwrap();
        let loaded = Recognizer::from_state_dict(&path, "mlp", &config(), data()).unwrap();
        let got = loaded.predict(&image).unwrap();
        assert!((got.probability - expected.probability).abs() < 1e-3, "{kind:?}: {got:?} {expected:?}");
        assert!(Recognizer::load(&path).unwrap_err().to_string().contains("state_dict.safetensors"));
    }
}

#[test]
fn recognizer_other_task_or_model_fails() {
    let error = Recognizer::load(format1("dnn-csv")).unwrap_err().to_string();
    let expected =
        format!("the task of {} is forecasting: expected classification", format1("dnn-csv").display());
    assert_eq!(error, expected);
    let other = Description { model: "resnet".into(), ..description() };
    let error = load_error(&mlp().parameters().snapshot(), &other);
    assert_eq!(error, "the model is resnet: expected a model of the library (mlp)");
    let other = Description { model_config: json!({"fc1": 0}), ..description() };
    assert_eq!(load_error(&[], &other), "fc1 is 0: expected at least 1 unit");
}

#[test]
fn recognizer_wrong_tensors_fails_with_each_name() {
    let mut weights = mlp().parameters().snapshot();
    weights.retain(|(name, _)| name != "fc1.bias");
    weights.push(("fc9.weight".into(), Tensor::from_slice(&[1f32])));
    for (name, tensor) in &mut weights {
        if name == "fc2.weight" {
            *tensor = tensor.transpose(0, 1);
        }
    }
    let error = load_error(&weights, &description());
    for expected in ["fc1.bias [5] ", "fc2.weight is [5, 4], ", "fc9.weight [1] "] {
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
}

#[test]
fn recognizer_unusable_data_fails() {
    let error = |data: DataSpec| Recognizer::new(mlp(), data).unwrap_err().to_string();
    assert!(error(DataSpec { image: None, ..data() }).starts_with("the image of the data is absent"));
    for image in [
        ImageSpec { height: 0, ..ImageSpec::MNIST },
        ImageSpec { width: 1 << 40, ..ImageSpec::MNIST },
        ImageSpec { std: 0.0, ..ImageSpec::MNIST },
        ImageSpec { mean: f64::NAN, ..ImageSpec::MNIST },
    ] {
        let error = error(DataSpec { image: Some(image), ..data() });
        assert!(error.contains("expected a height and width of at least 1"), "{error}");
    }
    let error_of_input = error(DataSpec { input_dims: vec![3, 4, 6], ..data() });
    assert!(error_of_input.contains("expected shape [1, 4, 6]"), "{error_of_input}");
    for output_dims in [vec![], vec![4], vec![0], vec![3, 1]] {
        let error = error(DataSpec { output_dims, ..data() });
        assert!(
            error.contains("expected shape [classes], with as many classes as names, which are 3"),
            "{error}"
        );
    }
    let unnamed = DataSpec { mapping: vec![], ..data() };
    let image = Tensor::zeros([4, 6], (Kind::Uint8, tch::Device::Cpu));
    let class = Recognizer::new(mlp(), unnamed).unwrap().predict(&image).unwrap().class;
    assert!(["0", "1", "2"].contains(&&*class), "{class}");
}

#[test]
fn recognizer_unreadable_image_fails_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("good.png"), folder.path().join("bad.png"));
    DynamicImage::new_luma8(3, 3).save(&good).unwrap();
    std::fs::write(&bad, "no image").unwrap();
    let recognizer = Recognizer::new(mlp(), data()).unwrap();
    for path in [&bad, &folder.path().join("missing.png")] {
        let error = recognizer.predict_paths(&[&good, path]).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
    for wrong in [
        Tensor::zeros([4, 6], tch::kind::FLOAT_CPU),
        Tensor::zeros([4, 4, 6], (Kind::Uint8, tch::Device::Cpu)),
        Tensor::zeros([0, 6], (Kind::Uint8, tch::Device::Cpu)),
    ] {
        let error = recognizer.predict(&wrong).unwrap_err().to_string();
        assert!(error.contains("the image"), "{error}");
    }
}

/// The sizes would take gigabytes to petabytes.
#[test]
fn recognizer_checkpoint_of_a_larger_model_than_its_weights_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    for sizes in [[50_000, 50_000], [1 << 40, 1], [1, i64::MAX]] {
        let mut description = description();
        description.model_config["fc1"] = sizes[0].into();
        description.model_config["fc2"] = sizes[1].into();
        checkpoint::save(&path, &mlp().parameters().snapshot(), &description, &json!({})).unwrap();
        let error = Recognizer::load(&path).unwrap_err().to_string();
        assert!(error.contains("the shape of a weight is"), "{error}");
    }
}
