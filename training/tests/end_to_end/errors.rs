//! Tests of the errors of the binary. Each error has an exit code and a message with the problem, its place and a solution, and
//! leaves no partial files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::lab::{Lab, Trained, assert_error, binary, copy_folder, files, resume};

/// Flags, the expected exit code, and the expected parts of the message.
type Case = (&'static [&'static str], i32, &'static [&'static str]);

/// Exit code 2 is for an error of the command line, 1 for an error of a valid command.
const COMMAND_LINES: &[Case] = &[
    (&["--model", "mpl"], 2, &["'mpl'", "possible values: mlp"]),
    (&["--data", "mnits"], 2, &["'mnits'", "a similar value exists: 'mnist'"]),
    (&["--batch_sise", "3"], 2, &["'--batch_sise'", "a similar argument exists: '--batch_size'"]),
    (&["--units", "5"], 2, &["--units is a flag of --model", "lstm", "but the model is mlp"]),
    (&["--fc1", "many"], 2, &["'many'", "--fc1"]),
    (&["--fc1", "0"], 1, &["fc1 is 0", "at least 1 unit"]),
    (&["--dropout", "1"], 1, &["dropout is 1", "a probability"]),
    (&["--batch_size=-1"], 2, &["'-1'", "--batch_size"]),
    (&["--batch_size", "0"], 1, &["batch_size is 0", "at least 1"]),
    (&["--max_epochs=-1"], 2, &["'-1'", "--max_epochs"]),
    (&["--max_epochs"], 2, &["a value is required", "--max_epochs"]),
    (&["--min_epochs", "20"], 1, &["min_epochs is 20", "at most max_epochs, 2"]),
    (&["--max_time", "soon"], 2, &["'soon'", "HH:MM:SS"]),
    (&["--seed=-1"], 2, &["'-1'", "--seed"]),
    (&["--lr", "0"], 1, &["lr is 0", "greater than 0"]),
    (&["--lr=-1"], 1, &["lr is -1", "greater than 0"]),
    (&["--lr", "nan"], 1, &["lr is NaN", "finite"]),
    (&["--optimizer", "adan"], 2, &["'adan'", "a similar value exists: 'adam'"]),
    (&["--one_cycle_max_lr", "0"], 1, &["one_cycle_max_lr is 0", "greater than 0"]),
    (&["--lr_schedule", "step", "--one_cycle_max_lr", "1"], 1, &["one_cycle_max_lr is given", "one_cycle"]),
    (&["--loss", "mse"], 1, &["loss is mse", "a loss for classification: cross_entropy"]),
    (&["--precision", "16"], 2, &["'16'", "32, 64, bf16"]),
    (&["--threads", "0"], 1, &["threads is 0", "1 to 1024"]),
    (&["--threads", "100000"], 1, &["threads is 100000", "1 to 1024"]),
    (&["--fc1", "99999999999999"], 1, &["[99999999999999, 784]", "memory"]),
    (&["--limit_train_batches", "0"], 1, &["limit_train_batches is 0", "at least one batch"]),
    (&["--limit_val_batches", "1.5"], 2, &["'1.5'", "a share of all batches"]),
    (&["--gradient_clip_val=-1"], 1, &["gradient_clip_val is -1", "0 or greater"]),
    (&["--ema_decay", "1"], 1, &["ema_decay is 1", "from 0 to below 1"]),
    (&["--ema_decay", "0.9", "--stochastic_weight_avg"], 1, &["stochastic_weight_avg", "--ema_decay"]),
    (&["--save_top_k", "0"], 1, &["save_top_k is 0", "at least 1"]),
    (
        &["--checkpoint_monitor", "f1"],
        1,
        &["--checkpoint_monitor", "cannot monitor f1", "train_loss", "val_acc"],
    ),
    (
        &["--early_stop_monitor", "f1"],
        1,
        &["--early_stop_monitor", "cannot monitor f1", "train_loss", "val_acc"],
    ),
    (&["--device", "tpu"], 1, &["--device is tpu", "auto, or a device of this machine: cpu"]),
    (&["--device", "cuda:99"], 1, &["--device is cuda:99", "a device of this machine: cpu"]),
    (&["--config", "nowhere.json"], 1, &["nowhere.json", "No such file"]),
    (
        &["--config", "a", "--resume", "b"],
        1,
        &["cannot resume b: found neither a checkpoint nor the folder of a run"],
    ),
    (&["--resume", "last"], 1, &["cannot resume the last run", "found no run to resume"]),
    (&["--resume", "last", "--model", "lstm"], 1, &["found no run of model lstm to resume"]),
    (&["--load_checkpoint", "nowhere.safetensors"], 1, &["nowhere.safetensors", "No such file"]),
];

#[test]
fn invalid_command_line_is_an_error_and_writes_no_checkpoint() {
    let lab = Lab::new();
    for (args, code, parts) in COMMAND_LINES {
        assert_error(&args.join(" "), &lab.small(args).output().unwrap(), *code, parts);
    }
    // A run may create its folder before it finds the error. The folder then has a configuration and no checkpoint.
    for run in files(&lab.logs().join("mlp-mnist")) {
        assert_eq!(files(&lab.logs().join("mlp-mnist").join(run).join("checkpoints")), [""; 0]);
    }
}

#[test]
fn model_that_does_not_fit_its_data_is_an_error_and_leaves_no_folder() {
    let lab = Lab::new();
    let logs = lab.logs();
    let cases: &[Case] = &[
        (
            &["--model", "mlp", "--data", "series"],
            1,
            &["cannot train mlp on series", "--data mnist", "--model linear, dnn"],
        ),
        (&["--model", "lstm", "--data", "mnist"], 1, &["cannot train lstm on mnist", "--data series"]),
        (
            &["--model", "lstm", "--window_size", "5000"],
            1,
            &["series is 1000:", "at least 5001", "a window of 5000"],
        ),
        (&["--model", "lstm", "--units", "9999999999999"], 1, &["[1, 39999999999996]", "memory"]),
        (&["--model", "conv_lstm", "--kernel_size", "9223372036854775807"], 1, &["memory"]),
        (&["--model", "lstm", "--layers", "99999999999"], 1, &["layers is 99999999999", "1 to 1000"]),
        (&["--model", "lstm", "--window_size", "0"], 1, &["window_size is 0", "at least 1"]),
        (&["--model", "differencing", "--season", "0"], 1, &["season is 0", "at least 1"]),
        (&["--model", "seasonal_naive", "--season", "2000"], 1, &["seasonal_naive", "at least 2000 values"]),
        (&["--season", "7"], 2, &["--season is a flag of --data series, csv", "but the data is mnist"]),
    ];
    for (args, code, parts) in cases {
        let output = binary(args).arg("--log_dir").arg(&logs).output().unwrap();
        assert_error(&args.join(" "), &output, *code, parts);
    }
    assert!(!logs.exists());
}

#[test]
fn device_cuda_without_a_gpu_is_an_error() {
    if tch::Cuda::device_count() > 0 {
        return crate::skips::skip("this machine has a GPU");
    }
    let lab = Lab::new();
    assert_error(
        "cuda",
        &lab.small(&["--device", "cuda"]).output().unwrap(),
        1,
        &["--device is cuda", "a device of this machine: cpu"],
    );
    assert!(!lab.logs().exists());
}

/// Each case damages a copy of a run, and expects an error with the name of the file.
#[test]
fn resume_of_a_damaged_run_is_an_error_with_the_file() {
    let lab = Lab::new();
    let run = lab.train(&[]);
    type Damage = fn(&Path);
    fn edit(path: PathBuf, change: impl Fn(&mut Vec<u8>)) {
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    }
    fn last(run: &Path) -> PathBuf {
        run.join("checkpoints/last.safetensors")
    }
    fn state(run: &Path) -> PathBuf {
        run.join("checkpoints/last.state-40.safetensors")
    }
    let cases: &[(&str, Damage, &[&str])] = &[
        (
            "cut off",
            |run| edit(last(run), |bytes| bytes.truncate(bytes.len() / 2)),
            &["last.safetensors", "cut off", "use another checkpoint"],
        ),
        ("empty", |run| edit(last(run), Vec::clear), &["last.safetensors", "cut off"]),
        (
            "flipped bit",
            |run| {
                edit(last(run), |bytes| {
                    let at = bytes.len() - 7;
                    bytes[at] ^= 4;
                })
            },
            &["last.safetensors", "does not match its digest", "damaged"],
        ),
        (
            "flipped bit of the state",
            |run| edit(state(run), |bytes| *bytes.last_mut().unwrap() ^= 1),
            &["last.state-40.safetensors", "does not match its digest"],
        ),
        (
            "no state",
            |run| fs::remove_file(state(run)).unwrap(),
            &["last.state-40.safetensors", "No such file"],
        ),
        (
            "later format",
            |run| {
                edit(last(run), |bytes| {
                    let needle = b"\"format_version\":\"";
                    let at = bytes.windows(needle.len()).position(|w| w == needle).unwrap() + needle.len();
                    bytes[at] = b'9';
                })
            },
            &["last.safetensors", "its format is version 9", "newer"],
        ),
        (
            "file of another program",
            |run| {
                let tensor =
                    safetensors::tensor::TensorView::new(safetensors::Dtype::U8, vec![1], &[7]).unwrap();
                let bytes = safetensors::serialize([("fc1.weight", tensor)], &None).unwrap();
                fs::write(last(run), bytes).unwrap();
            },
            &["last.safetensors", "not a checkpoint of this library"],
        ),
        (
            "damaged configuration",
            |run| edit(run.join("config.json"), |bytes| bytes.truncate(bytes.len() / 2)),
            &["config.json", "is not JSON", "line"],
        ),
        (
            "impossible configuration",
            |run| fs::write(run.join("config.json"), r#"{"trainer": {"batch_size": "many"}}"#).unwrap(),
            &["config.json", "batch_size", "many"],
        ),
        (
            "no configuration",
            |run| fs::remove_file(run.join("config.json")).unwrap(),
            &["config.json", "neither a checkpoint nor the folder of a run"],
        ),
    ];
    for (at, (label, damage, parts)) in cases.iter().enumerate() {
        let copy = lab.path(&format!("copy_{at}"));
        copy_folder(&run.folder, &copy);
        damage(&copy);
        let before = files(&copy.join("checkpoints"));
        let output = resume(&copy, &["--max_epochs", "3"]).output().unwrap();
        assert_error(label, &output, 1, parts);
        assert_eq!(files(&copy.join("checkpoints")), before, "{label}");
    }
}

#[test]
fn checkpoint_of_another_shape_or_kind_is_an_error() {
    let lab = Lab::new();
    let run = lab.train(&[]);
    let best = run.folder.join("checkpoints/best.safetensors");
    let best = best.to_str().unwrap();
    assert_error(
        "another shape",
        &lab.small(&["--load_checkpoint", best, "--fc1", "24"]).output().unwrap(),
        1,
        &["--load_checkpoint", best, "fc1.weight is [32, 784], expected [24, 784]", "fc1.bias is [32]"],
    );
    assert_error(
        "weights without a state",
        &resume(Path::new(best), &["--max_epochs", "3"]).output().unwrap(),
        1,
        &[best, "contains only weights", "--load_checkpoint"],
    );
    let cut = lab.path("cut.safetensors");
    fs::write(&cut, &fs::read(best).unwrap()[..1000]).unwrap();
    assert_error(
        "cut off",
        &lab.small(&["--load_checkpoint", cut.to_str().unwrap()]).output().unwrap(),
        1,
        &["cut.safetensors", "cut off"],
    );
    assert_eq!(files(&lab.logs().join("mlp-mnist")), ["version_0"]);
}

#[test]
fn resume_with_other_hyperparameters_is_an_error_and_with_more_epochs_continues() {
    let lab = Lab::new();
    let run = lab.train(&[]);
    let changed = ["--batch_size", "64", "--seed", "1", "--fc1", "24", "--lr", "0.5"];
    assert_error(
        "other hyperparameters",
        &resume(&run.folder, &changed).output().unwrap(),
        1,
        &[
            "--batch_size: 128 -> 64",
            "--seed: 42 -> 1",
            "--fc1: 32 -> 24",
            "--lr: 0.001 -> 0.5",
            "start a new run",
        ],
    );
    let longer = Trained::of(resume(&run.folder, &["--max_epochs", "3", "--json"]).arg("--quiet"));
    assert_eq!((longer.json["epochs"].as_u64(), longer.json["steps"].as_u64()), (Some(3), Some(60)));
    assert_eq!(longer.metrics().len(), 1 + 3 + 1, "three epochs, the loss of step 50, and the test metrics");
}

#[test]
fn resume_of_a_locked_folder_is_an_error() {
    let lab = Lab::new();
    let run = lab.train(&[]);
    let lock = fs::File::options().write(true).open(run.folder.join(".lock")).unwrap();
    lock.lock().unwrap();
    let folder = run.folder.to_str().unwrap();
    let again = || resume(&run.folder, &["--max_epochs", "3"]).output().unwrap();
    assert_error(
        "locked",
        &again(),
        1,
        &["another process is writing to", folder, "after that process has ended"],
    );
    drop(lock);
    assert!(again().status.success());
}

#[test]
fn error_before_the_first_step_leaves_no_folder() {
    let lab = Lab::new();
    for (args, part) in [
        (["--checkpoint_monitor", "val_f1"], "val_loss"),
        (["--early_stop_monitor", "loss"], "val_loss"),
        (["--load_checkpoint", "nowhere.safetensors"], "nowhere"),
    ] {
        assert_error(part, &lab.small(&args).output().unwrap(), 1, &[args[1], part]);
        assert_eq!(files(&lab.logs().join("mlp-mnist")), [""; 0]);
    }
}
