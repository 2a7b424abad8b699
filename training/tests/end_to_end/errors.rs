//! Everything a person can get wrong has a message that says what, where and what to do, an exit code, and leaves
//! nothing half-written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::{Lab, Trained, assert_refused, binary, files, resume, text};

/// Flags, exit code, and parts of the message.
type Case = (&'static [&'static str], i32, &'static [&'static str]);

/// 2 for what the command line's grammar does not allow, 1 for what it allows and cannot be done.
const COMMAND_LINES: &[Case] = &[
    (&["--model", "mpl"], 2, &["'mpl'", "possible values: mlp"]),
    (&["--data", "mnits"], 2, &["'mnits'", "a similar value exists: 'mnist'"]),
    (&["--batch_sise", "3"], 2, &["'--batch_sise'", "a similar argument exists: '--batch_size'"]),
    (&["--units", "5"], 2, &["--units is a flag of --model", "lstm", "here the model is mlp"]),
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
    (&["--loss", "mse"], 1, &["the prediction", "expected shape [128]", "got [128, 10]"]),
    (&["--precision", "16"], 2, &["'16'", "32, 64, bf16"]),
    (&["--threads", "0"], 1, &["threads is 0", "1 to 1024"]),
    (&["--threads", "100000"], 1, &["threads is 100000", "1 to 1024"]),
    (&["--fc1", "99999999999999"], 1, &["[99999999999999, 784]", "memory"]),
    (&["--limit_train_batches", "0"], 1, &["limit_train_batches is 0", "at least one batch"]),
    (&["--limit_val_batches", "1.5"], 2, &["'1.5'", "a share of them"]),
    (&["--gradient_clip_val=-1"], 1, &["gradient_clip_val is -1", "0 or greater"]),
    (&["--ema_decay", "1"], 1, &["ema_decay is 1", "1 excluded"]),
    (&["--ema_decay", "0.9", "--stochastic_weight_avg"], 1, &["stochastic_weight_avg", "--ema_decay"]),
    (&["--save_top_k", "0"], 1, &["save_top_k is 0", "at least 1"]),
    (&["--checkpoint_monitor", "f1"], 1, &["--checkpoint_monitor", "no metric f1", "train_loss", "val_acc"]),
    (&["--early_stop_monitor", "f1"], 1, &["--early_stop_monitor", "no metric f1", "train_loss", "val_acc"]),
    (&["--device", "tpu"], 1, &["--device is tpu", "auto, or a device of this machine: cpu"]),
    (&["--device", "cuda:99"], 1, &["--device is cuda:99", "a device of this machine: cpu"]),
    (&["--config", "nowhere.json"], 1, &["nowhere.json", "No such file"]),
    (&["--config", "a", "--resume", "b"], 1, &["--resume: b is neither a checkpoint nor a run's folder"]),
    (&["--resume", "last"], 1, &["--resume last", "no run to continue in"]),
    (&["--resume", "last", "--model", "lstm"], 1, &["no run of model lstm to continue in"]),
    (&["--load_checkpoint", "nowhere.safetensors"], 1, &["nowhere.safetensors", "No such file"]),
];

#[test]
fn command_lines() {
    let lab = Lab::new();
    for (args, code, parts) in COMMAND_LINES {
        assert_refused(&args.join(" "), &lab.small(args).output().unwrap(), *code, parts);
    }
    // Where a run's folder was made before the mistake was found, it holds the configuration and no checkpoint.
    for run in files(&lab.logs().join("mlp-mnist")) {
        assert_eq!(files(&lab.logs().join("mlp-mnist").join(run).join("checkpoints")), [""; 0]);
    }
}

#[test]
fn models_on_data_they_cannot_learn() {
    let lab = Lab::new();
    let logs = lab.logs();
    let cases: &[Case] = &[
        (
            &["--model", "mlp", "--data", "series"],
            1,
            &["mlp cannot be trained on series", "--data mnist", "--model linear, dnn"],
        ),
        (&["--model", "lstm", "--data", "mnist"], 1, &["lstm cannot be trained on mnist", "--data series"]),
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
        (&["--season", "7"], 2, &["--season is a flag of --data series, csv", "the data is mnist"]),
    ];
    for (args, code, parts) in cases {
        let output = binary(args).arg("--log_dir").arg(&logs).output().unwrap();
        assert_refused(&args.join(" "), &output, *code, parts);
    }
    assert!(!logs.exists());
}

#[test]
fn a_missing_gpu() {
    if tch::Cuda::device_count() > 0 {
        return crate::lab::report("skipped: there is a GPU");
    }
    let lab = Lab::new();
    assert_refused(
        "cuda",
        &lab.small(&["--device", "cuda"]).output().unwrap(),
        1,
        &["--device is cuda", "a device of this machine: cpu"],
    );
    assert!(!lab.logs().exists());
}

/// Spoils a copy of a run in one way each, and expects a refusal that names the file.
#[test]
fn damaged_runs() {
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
            "a flipped bit",
            |run| {
                edit(last(run), |bytes| {
                    let at = bytes.len() - 7;
                    bytes[at] ^= 4;
                })
            },
            &["last.safetensors", "does not match its digest", "damaged"],
        ),
        (
            "a flipped bit of the state",
            |run| edit(state(run), |bytes| *bytes.last_mut().unwrap() ^= 1),
            &["last.state-40.safetensors", "does not match its digest"],
        ),
        (
            "no state",
            |run| fs::remove_file(state(run)).unwrap(),
            &["last.state-40.safetensors", "No such file"],
        ),
        (
            "a later format",
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
            "somebody else's file",
            |run| {
                let tensor =
                    safetensors::tensor::TensorView::new(safetensors::Dtype::U8, vec![1], &[7]).unwrap();
                let bytes = safetensors::serialize([("fc1.weight", tensor)], &None).unwrap();
                fs::write(last(run), bytes).unwrap();
            },
            &["last.safetensors", "not a checkpoint of this library"],
        ),
        (
            "no checkpoint",
            |run| fs::remove_file(last(run)).unwrap(),
            &["neither a checkpoint nor a run's folder"],
        ),
        (
            "a damaged configuration",
            |run| edit(run.join("config.json"), |bytes| bytes.truncate(bytes.len() / 2)),
            &["config.json", "is not JSON", "line"],
        ),
        (
            "an impossible configuration",
            |run| fs::write(run.join("config.json"), r#"{"trainer": {"batch_size": "many"}}"#).unwrap(),
            &["config.json", "batch_size", "many"],
        ),
        (
            "no configuration",
            |run| fs::remove_file(run.join("config.json")).unwrap(),
            &["config.json", "No such file"],
        ),
        (
            "a cut history",
            |run| edit(run.join("metrics.jsonl"), |bytes| bytes.truncate(10)),
            &["metrics.jsonl", "has 10 bytes", "it was cut"],
        ),
    ];
    for (at, (what, damage, parts)) in cases.iter().enumerate() {
        let copy = lab.path(&format!("copy_{at}"));
        copy_folder(&run.folder, &copy);
        damage(&copy);
        let before = files(&copy.join("checkpoints"));
        let output = resume(&copy, &["--max_epochs", "3"]).output().unwrap();
        assert_refused(what, &output, 1, parts);
        assert_eq!(files(&copy.join("checkpoints")), before, "{what}");
    }
}

#[test]
fn a_checkpoint_of_another_model() {
    let lab = Lab::new();
    let run = lab.train(&[]);
    let best = run.folder.join("checkpoints/best.safetensors");
    let best = best.to_str().unwrap();
    assert_refused(
        "another architecture",
        &lab.small(&["--load_checkpoint", best, "--fc1", "24"]).output().unwrap(),
        1,
        &["--load_checkpoint", best, "fc1.weight is [32, 784], expected [24, 784]", "fc1.bias is [32]"],
    );
    assert_refused(
        "weights alone",
        &resume(Path::new(best), &["--max_epochs", "3"]).output().unwrap(),
        1,
        &[best, "holds weights alone", "--load_checkpoint"],
    );
    let cut = lab.path("cut.safetensors");
    fs::write(&cut, &fs::read(best).unwrap()[..1000]).unwrap();
    assert_refused(
        "cut off",
        &lab.small(&["--load_checkpoint", cut.to_str().unwrap()]).output().unwrap(),
        1,
        &["cut.safetensors", "cut off"],
    );
    assert_eq!(files(&lab.logs().join("mlp-mnist")), ["version_0"]);
}

#[test]
fn a_resumed_run_keeps_its_mathematics() {
    let lab = Lab::new();
    let run = lab.train(&[]);
    let changed = ["--batch_size", "64", "--seed", "1", "--fc1", "24", "--lr", "0.5"];
    assert_refused(
        "other mathematics",
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
    assert!(
        longer.metrics_text().starts_with(&fs::read_to_string(run.folder.join("metrics.jsonl")).unwrap())
    );
    assert_eq!(longer.metrics().len(), 1 + 3, "three epochs, and the loss of step 50");
}

#[test]
fn one_process_writes_to_a_folder() {
    let lab = Lab::new();
    let run = lab.train(&[]);
    let lock = fs::File::options().write(true).open(run.folder.join(".lock")).unwrap();
    lock.lock().unwrap();
    let folder = run.folder.to_str().unwrap();
    let again = || resume(&run.folder, &["--max_epochs", "3"]).output().unwrap();
    assert_refused("locked", &again(), 1, &["another process is writing to", folder, "wait until it ends"]);
    drop(lock);
    assert!(again().status.success());
}

/// What is refused before the first step leaves no folder behind.
#[test]
fn refused_runs_leave_nothing() {
    let lab = Lab::new();
    for (args, part) in [
        (["--checkpoint_monitor", "val_f1"], "val_loss"),
        (["--early_stop_monitor", "loss"], "val_loss"),
        (["--load_checkpoint", "nowhere.safetensors"], "nowhere"),
    ] {
        assert_refused(part, &lab.small(&args).output().unwrap(), 1, &[args[1], part]);
        assert_eq!(files(&lab.logs().join("mlp-mnist")), [""; 0]);
    }
}

#[test]
fn a_logs_folder_that_cannot_be() {
    let lab = Lab::new();
    let file = lab.path("file");
    fs::write(&file, "").unwrap();
    let under = file.join("logs");
    let under = under.to_str().unwrap();
    assert_refused(
        "under a file",
        &lab.small(&["--log_dir", under]).output().unwrap(),
        1,
        &["creating a folder for the run in", under, "--log_dir chooses another place"],
    );
}

/// A folder that nobody may write to: not where the test runs as one who may do everything.
#[cfg(unix)]
#[test]
fn a_logs_folder_that_is_read_only() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    fs::create_dir(lab.logs()).unwrap();
    fs::set_permissions(lab.logs(), fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(lab.logs().join("probe"), "").is_ok() {
        return crate::lab::report("skipped: this user writes everywhere");
    }
    assert_refused("read-only", &lab.small(&[]).output().unwrap(), 1, &["Permission denied", "--log_dir"]);
    fs::set_permissions(lab.logs(), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Where files may not grow beyond 50 KB, as on a disk with no more room: the weights alone are 100 KB.
#[cfg(target_os = "linux")]
#[test]
fn files_that_cannot_grow() {
    let lab = Lab::new();
    let small = lab.small(&[]);
    let mut limited = Command::new("bash");
    // Unless the signal is ignored, it ends the process; what is left is the error that a full disk gives too.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 50; exec \"$0\" \"$@\""]).arg(small.get_program());
    limited.args(small.get_args()).current_dir(small.get_current_dir().unwrap());
    let output = limited.output().unwrap();
    assert_refused("limited files", &output, 1, &["cannot write", "best.safetensors", "File too large"]);
    assert_eq!(files(&lab.logs().join("mlp-mnist/version_0/checkpoints")), [""; 0], "nothing half-written");
}

/// A small file system of its own, where this user may mount one.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_without_room() {
    let lab = Lab::new();
    fs::create_dir(lab.logs()).unwrap();
    let mount = |program: &str, args: &[&str]| {
        Command::new(program).args(args).arg(lab.logs()).output().is_ok_and(|output| output.status.success())
    };
    if !mount("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs"]) {
        return crate::lab::report("skipped: no small disk can be mounted here");
    }
    let first = lab.small(&["--json"]).output().unwrap();
    let folder = lab.logs().join("mlp-mnist/version_0");
    let good = fs::read(folder.join("checkpoints/last.safetensors"));
    // A second run's first checkpoint, or a first run's next, finds no room.
    let filler = vec![0; 1 << 20];
    let _ = fs::write(lab.logs().join("filler"), &filler);
    let full = resume(&folder, &["--max_epochs", "3"]).output().unwrap();
    let (checkpoints, after) =
        (files(&folder.join("checkpoints")), fs::read(folder.join("checkpoints/last.safetensors")));
    let unmounted = mount("umount", &[]);
    assert!(unmounted, "the disk stays in use");
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert_refused("full disk", &full, 1, &["No space left on device"]);
    assert_eq!(checkpoints, ["best.safetensors", "last.safetensors", "last.state-40.safetensors"]);
    assert!(good.unwrap() == after.unwrap(), "the checkpoint before is whole");
}

/// Results that nobody gets are no success; results that nobody wants are.
#[cfg(target_os = "linux")]
#[test]
fn standard_output_that_is_full() {
    let lab = Lab::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = lab.small(&[]).stdout(full).output().unwrap();
    assert_refused("/dev/full", &output, 1, &["standard output", "No space left on device"]);
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for name in files(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}
