//! The MNIST of the repository, whole and damaged.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::{Compression, write::GzEncoder};
use tch::{Kind, Tensor};
use text_recognizer::data::{
    BaseDataset, DataModule, DataSplits, Dataset, Mnist, MnistConfig, MnistDataset, load_and_print_info,
};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data")
}

fn mnist(data_dir: &Path) -> Mnist {
    let config = MnistConfig { data_dir: Some(data_dir.to_owned()) };
    Mnist::new(MnistDataset::Mnist, config).unwrap()
}

fn all(dataset: &dyn Dataset) -> (Tensor, Tensor) {
    dataset.slice(0, dataset.len() as i64).unwrap()
}

fn counts(y: &Tensor) -> Vec<i64> {
    Vec::try_from(y.bincount::<Tensor>(None, 10)).unwrap()
}

#[test]
fn setup_real_data_is_split_and_normalized() {
    let module = mnist(&repository());
    module.prepare_data().unwrap();
    let DataSplits { train, val, test } = module.setup().unwrap();
    let test = test.unwrap();
    assert_eq!((train.len(), val.len(), test.len()), (55_000, 5_000, 10_000));

    let ((train_x, train_y), (val_x, val_y), (test_x, test_y)) = (all(&*train), all(&*val), all(&*test));
    assert_eq!((test_x.size(), test_x.kind()), (vec![10_000, 1, 28, 28], Kind::Float));
    assert_eq!((test_y.size(), test_y.kind()), (vec![10_000], Kind::Int64));
    // The count of each digit, from zcat FILE | tail -c +9 | od -An -v -w1 -tu1 | sort -n | uniq -c
    assert_eq!(counts(&test_y), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    let both: Vec<i64> = counts(&train_y).iter().zip(counts(&val_y)).map(|(a, b)| a + b).collect();
    assert_eq!(both, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
    // A random split: the share of each digit in the validation split is within five stds.
    for (count, all) in counts(&val_y).iter().zip(both) {
        let p = all as f64 / 60_000.0;
        assert!(
            (*count as f64 - 5_000.0 * p).abs() < 5.0 * (5_000.0 * p * (1.0 - p)).sqrt(),
            "{count} of {all}"
        );
    }
    let x = Tensor::cat(&[train_x, val_x], 0);
    let (std, mean) = x.std_mean(false);
    let [mean, std] = [mean, std].map(|t| f64::try_from(t).unwrap());
    assert!(mean.abs() < 5e-4 && (std - 1.0).abs() < 5e-4, "mean {mean}, std {std}");
    // The first test image is a seven, as in every MNIST tutorial.
    assert_eq!(test_y.int64_value(&[0]), 7);
    let black = (0.0 - 0.1307) / 0.3081;
    assert!((test_x.double_value(&[0, 0, 0, 0]) - black).abs() < 1e-6);
}

#[test]
fn setup_twice_gives_same_split_with_each_image_once() {
    let splits = || mnist(&repository()).setup().unwrap();
    let (first, second) = (splits(), splits());
    assert_eq!(all(&*first.val).0, all(&*second.val).0);
    // The training file begins with the labels 5 0 4 1 9.
    let file = fs::read(repository().join("raw/mnist/train-labels-idx1-ubyte.gz")).unwrap();
    let labels = text_recognizer::data::parse_idx(&file, "labels").unwrap();
    assert_eq!(Vec::<u8>::try_from(labels.narrow(0, 0, 5)).unwrap(), [5, 0, 4, 1, 9]);
    let file = fs::read(repository().join("raw/mnist/train-images-idx3-ubyte.gz")).unwrap();
    let images = text_recognizer::data::parse_idx(&file, "images").unwrap().view([-1, 784]);
    // Each image is hashed to one number: the two splits together have the numbers of the file, each as often.
    let weights = Tensor::arange(784, (Kind::Double, tch::Device::Cpu)).sqrt();
    let hash = |x: Tensor| Vec::<f64>::try_from(x.to_kind(Kind::Double).matmul(&weights)).unwrap();
    let hashes = |dataset: &dyn Dataset| -> Vec<f64> {
        let batches =
            (0..dataset.len() as i64).step_by(5_000).map(|start| dataset.slice(start, 5_000).unwrap().0);
        batches.flat_map(|x| hash(((x.view([-1, 784]) * 0.3081 + 0.1307) * 255.0).round())).collect()
    };
    let mut parts = [hashes(&*first.train), hashes(&*first.val)].concat();
    let mut whole: Vec<f64> =
        (0..12).flat_map(|batch| hash(images.narrow(0, batch * 5_000, 5_000))).collect();
    parts.sort_by(f64::total_cmp);
    whole.sort_by(f64::total_cmp);
    assert!(parts == whole);
}

#[test]
fn load_and_print_info_describes_data() {
    let module = mnist(&repository());
    let config = module.spec();
    assert_eq!((config.input_dims, config.output_dims), (vec![1, 28, 28], vec![10]));
    let text = load_and_print_info(&module, &mut std::io::sink()).unwrap().to_string();
    let start = "Dims: [1, 28, 28] -> [10]\nClasses: 0 1 2 3 4 5 6 7 8 9\nTrain/val/test rows: 55000, 5000, 10000\n\
                 Batch x: [128, 1, 28, 28] Float, min -0.42, mean ";
    assert!(text.starts_with(start) && text.ends_with("max 9.00\n"), "{text}");
    let fashion = Mnist::new(MnistDataset::FashionMnist, MnistConfig::default()).unwrap().spec();
    assert_eq!((fashion.mapping.len(), &*fashion.mapping[9]), (10, "Ankle boot"));
}

/// Returns a folder with a copy of the repository's files, directly in it.
fn copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in MnistDataset::Mnist.raw().unwrap().files {
        fs::copy(repository().join("raw/mnist").join(&file.name), dir.path().join(&file.name)).unwrap();
    }
    dir
}

#[test]
fn setup_damaged_file_fails_with_its_name() {
    let dir = copy();
    let name = "t10k-labels-idx1-ubyte.gz";
    let path = dir.path().join(name);
    let setup_error = || mnist(dir.path()).setup().unwrap_err().to_string();
    assert!(mnist(dir.path()).setup().is_ok());

    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..2000]).unwrap();
    assert!(setup_error().contains(&format!("{name}: cannot gunzip after")), "{}", setup_error());

    // Uncompressed, without .gz.
    fs::remove_file(&path).unwrap();
    let plain = dir.path().join("t10k-labels-idx1-ubyte");
    let mut labels = vec![0, 0, 8, 1, 0, 0, 0x27, 0x10];
    let tensor = text_recognizer::data::parse_idx(&whole, "labels").unwrap();
    labels.extend(Vec::<u8>::try_from(tensor).unwrap());
    fs::write(&plain, &labels).unwrap();
    assert!(mnist(dir.path()).setup().is_ok());
    labels[9_000] ^= 1;
    fs::write(&plain, &labels).unwrap();
    let expected = "expected ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2";
    assert!(setup_error().contains("SHA-256 is ") && setup_error().contains(expected), "{}", setup_error());
    fs::write(&plain, &labels[..9_000]).unwrap();
    assert!(setup_error().contains("expected at most 8992 values"), "{}", setup_error());

    fs::remove_file(&plain).unwrap();
    assert!(
        setup_error().contains("cannot find mnist: it is not on disk; try prepare_data first"),
        "{}",
        setup_error()
    );
}

/// A file of 9.7 MB can inflate to 10 GB, so that its header of 12 million images is possible.
#[test]
fn setup_header_that_promises_more_than_was_published_fails() {
    let dir = copy();
    let path = dir.path().join("train-images-idx3-ubyte.gz");
    let mut encoder = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
    encoder.write_all(&[0, 0, 8, 3, 0x00, 0xb7, 0x1b, 0x00, 0, 0, 0, 28, 0, 0, 0, 28, 1, 2, 3]).unwrap();
    encoder.finish().unwrap().set_len(9_700_000).unwrap();
    let error = mnist(dir.path()).setup().unwrap_err().to_string();
    let expected =
        "declares 9408000016 bytes for the shape [12000000, 28, 28], expected 47040016, the published size";
    assert!(error.contains("train-images-idx3-ubyte.gz: ") && error.contains(expected), "{error}");
}

#[test]
fn setup_without_flag_finds_workspace_above_current_folder() {
    let module = Mnist::new(MnistDataset::Mnist, MnistConfig::default()).unwrap();
    assert_eq!(module.setup().unwrap().train.len(), 55_000);
}

#[test]
fn setup_environment_variable_gives_folder() {
    // Runs the test above from a folder outside of the workspace, for a user without data.
    let elsewhere = tempfile::tempdir().unwrap();
    let run = |data: &Path| {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", "mnist::setup_without_flag_finds_workspace_above_current_folder"])
            .current_dir(elsewhere.path())
            .env("TEXT_RECOGNIZER_DATA", data)
            .env("HOME", elsewhere.path())
            .env("XDG_DATA_HOME", elsewhere.path());
        test.output().unwrap().status.success()
    };
    assert!(run(&fs::canonicalize(repository()).unwrap()));
    assert!(!run(Path::new("")));
}

#[test]
fn prepare_data_folder_that_cannot_be_created_fails_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = mnist(&file).prepare_data().unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot create {}", file.join("raw/mnist").display())), "{error}");
}

#[test]
fn mnist_and_dataset_are_send() {
    fn sendable<T: Send>() {}
    sendable::<Mnist>();
    sendable::<BaseDataset>();
}
