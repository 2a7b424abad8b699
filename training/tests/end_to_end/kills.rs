//! A run that is killed at any time and resumed ends like an uninterrupted run, for every option whose state a resume restores.
#![cfg(unix)]

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use text_recognizer::rng::Stream;

use crate::lab::{Lab, Trained, assert_error, binary, files, report, resume};
use crate::resume::{Outcome, batches, only_run, wait_for_batches};

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Returns whether the last checkpoint is that after `count` batches, and is complete.
fn is_saved_at(folder: &Path, count: u64) -> bool {
    let names = files(&folder.join("checkpoints"));
    let states: Vec<&String> = names.iter().filter(|name| name.starts_with("last.state-")).collect();
    states == [&format!("last.state-{count}.safetensors")]
}

/// Returns whether the kill interrupted a save.
fn is_mid_save(folder: &Path) -> bool {
    let names = files(&folder.join("checkpoints"));
    let states = names.iter().filter(|name| name.starts_with("last.state-")).count();
    states > 1 || names.iter().any(|name| name.starts_with(".tmp-"))
}

/// Kills runs at random times, `kills` times in total, resumes each run to its end, and compares it with an uninterrupted run.
/// The number of runs depends on the speed of the machine.
fn check_kills(name: &str, args: &[&str], kills: u32) {
    let mut random = Stream::new(7);
    let (mut killed, mut mid_save, mut runs) = (0, 0, 0);
    while killed < kills {
        runs += 1;
        let lab = Lab::new();
        let seed = runs.to_string();
        let in_logs = |logs: &Path, more: &[&str]| {
            let mut command = binary(args);
            command.args(["--seed", &seed, "--log_dir"]).arg(logs).args(more);
            command
        };
        let uninterrupted = Trained::of(in_logs(&lab.path("uninterrupted"), &["--json"]).arg("--quiet"));
        let logs = lab.path("killed");
        let mut child = start(in_logs(&logs, &["--checkpoint_every_n_steps", "1"]));
        while !logs.exists() || files(&logs).is_empty() {
            sleep(Duration::from_millis(1));
        }
        let folder = only_run(&logs);
        while !folder.join("config.json").exists() {
            sleep(Duration::from_micros(100));
        }
        // Every third run is killed before its first checkpoint.
        if runs % 3 != 1 {
            wait_for_batches(&mut child, &folder, 1);
        }
        let mut refused = false;
        while killed < kills {
            let target = batches(&folder) + random.below(25);
            wait_for_batches(&mut child, &folder, target);
            // A step and a save each take milliseconds, so that the kill is somewhere in one of them.
            sleep(Duration::from_micros(random.below(8000)));
            child.kill().unwrap();
            if child.wait().unwrap().signal().is_none() {
                break;
            }
            killed += 1;
            // The kill came between the first checkpoint among the best and the first one to continue from.
            let checkpoints = folder.join("checkpoints");
            if checkpoints.join("best.safetensors").exists() && !checkpoints.join("last.safetensors").exists()
            {
                let output = resume(&folder, &[]).output().unwrap();
                assert_error(name, &output, 1, &["cannot resume", "best.safetensors but not"]);
                refused = true;
                break;
            }
            mid_save += u32::from(is_mid_save(&folder));
            let every = (1 + random.below(3)).to_string();
            child = start(resume(&folder, &["--checkpoint_every_n_steps", &every]));
        }
        if refused {
            continue;
        }
        // Resumes the last time, without a kill.
        child.kill().unwrap();
        child.wait().unwrap();
        Trained::of(resume(&folder, &["--checkpoint_every_n_steps", "1000000", "--json"]).arg("--quiet"));
        Outcome::of(&folder)
            .assert_is(&Outcome::of(&uninterrupted.folder), &format!("{name}, {killed} kills"));
    }
    report(&format!(
        "{name}: {killed} kills, {mid_save} of them during a save, in {runs} runs: all bits equal"
    ));
}

/// Flags of every run that is killed: few small batches.
const QUICK: &[&str] = &["--device=cpu", "--log_every_n_steps=7", "--limit_val_batches=1"];

/// A description of a run, its flags, and the number of kills.
type Mix = (&'static str, &'static [&'static str], u32);

/// Each model and each option whose state a resume must restore, in combinations.
const MIXES: &[Mix] = &[
    (
        "mlp, adam, EMA, top-k, validation within epochs",
        &[
            "--model=mlp",
            "--fc1=16",
            "--fc2=8",
            "--max_epochs=6",
            "--limit_train_batches=100",
            "--limit_test_batches=1",
            "--val_check_interval=30",
            "--save_top_k=3",
            "--ema_decay=0.9",
            "--threads=1",
        ],
        12,
    ),
    (
        "lstm, sgd, plateau, accumulation, early stop",
        &[
            "--model=lstm",
            "--units=8",
            "--dropout=0.2",
            "--optimizer=sgd",
            "--momentum=0.9",
            "--lr_schedule=plateau",
            "--lr_patience=1",
            "--accumulate_grad_batches=2",
            "--early_stop_patience=50",
            "--max_epochs=25",
            "--threads=1",
        ],
        8,
    ),
    (
        "dnn, one-cycle, SWA, uneven accumulation, clipping, 2 threads",
        &[
            "--model=dnn",
            "--lr_schedule=one_cycle",
            "--one_cycle_max_lr=1e-5",
            "--stochastic_weight_avg=true",
            "--accumulate_grad_batches=3",
            "--gradient_clip_val=1",
            "--max_epochs=20",
            "--threads=2",
        ],
        5,
    ),
    (
        "linear, cosine with warmup, top-k, validation every other epoch",
        &[
            "--model=linear",
            "--optimizer=adam",
            "--lr=1e-3",
            "--lr_schedule=cosine",
            "--lr_warmup_steps=40",
            "--save_top_k=2",
            "--check_val_every_n_epoch=2",
            "--max_epochs=20",
            "--threads=1",
        ],
        5,
    ),
    (
        "rnn, step, EMA, early stop with min_delta, standard scaling",
        &[
            "--model=rnn",
            "--units=4",
            "--optimizer=adamw",
            "--lr=1e-2",
            "--lr_schedule=step",
            "--lr_step_epochs=2",
            "--ema_decay=0.99",
            "--scaling=standard",
            "--early_stop_patience=6",
            "--early_stop_min_delta=0.001",
            "--max_epochs=20",
            "--threads=1",
        ],
        5,
    ),
    (
        "dnn on a file with gaps, filled, windows scaled by their values, lengths by the data",
        &[
            "--model=dnn",
            "--data=csv",
            concat!("--csv=", env!("CARGO_MANIFEST_DIR"), "/tests/corpus/csv/gaps.csv"),
            "--fill=interpolate",
            "--scaling=window",
            "--max_epochs=20",
            "--threads=1",
        ],
        4,
    ),
    (
        "linear on a file with gaps and missing targets, accumulation",
        &[
            "--model=linear",
            "--data=csv",
            concat!("--csv=", env!("CARGO_MANIFEST_DIR"), "/tests/corpus/csv/gaps.csv"),
            "--scaling=last",
            "--horizon=3",
            "--window_size=7",
            "--batch_size=8",
            "--accumulate_grad_batches=2",
            "--max_epochs=20",
            "--threads=1",
        ],
        4,
    ),
    (
        "dnn with covariates, calendar and Fourier terms",
        &[
            "--model=dnn",
            "--data=csv",
            concat!("--csv=", env!("CARGO_MANIFEST_DIR"), "/tests/golden/format1/sales.csv"),
            "--target=a",
            "--future_covariates=b",
            "--calendar=weekday,day",
            "--fourier=7:2",
            "--horizon=2",
            "--max_epochs=20",
            "--threads=1",
        ],
        4,
    ),
    (
        "linear with past covariates that have gaps, scaling by the last value",
        &[
            "--model=linear",
            "--data=csv",
            concat!("--csv=", env!("CARGO_MANIFEST_DIR"), "/tests/corpus/csv/gaps.csv"),
            "--target=b",
            "--past_covariates=a",
            "--scaling=last",
            "--fill=forward",
            "--max_epochs=20",
            "--threads=1",
        ],
        4,
    ),
    (
        "dnn on many series with static covariates and what is known beforehand",
        &[
            "--model=dnn",
            "--data=csv",
            concat!("--csv=", env!("CARGO_MANIFEST_DIR"), "/tests/corpus/csv/shops.csv"),
            "--series_column=shop",
            "--static_covariates=city",
            "--future_covariates=promo",
            "--window_size=7",
            "--batch_size=8",
            "--max_epochs=20",
            "--threads=1",
        ],
        4,
    ),
    (
        "gru, accumulation with validation within epochs, 2 threads",
        &[
            "--model=gru",
            "--units=4",
            "--optimizer=adam",
            "--lr=1e-3",
            "--accumulate_grad_batches=4",
            "--val_check_interval=0.3",
            "--max_epochs=12",
            "--threads=2",
        ],
        5,
    ),
    (
        "nlinear with weights for each column",
        &[
            "--model=nlinear",
            "--individual",
            "--data=csv",
            concat!("--csv=", env!("CARGO_MANIFEST_DIR"), "/tests/corpus/csv/gaps.csv"),
            "--fill=interpolate",
            "--horizon=2",
            "--max_epochs=20",
            "--threads=1",
        ],
        2,
    ),
    (
        "dlinear, EMA",
        &["--model=dlinear", "--kernel_size=5", "--ema_decay=0.9", "--max_epochs=8", "--threads=1"],
        2,
    ),
    (
        "nbeats with polynomials, sines and dropout",
        &[
            "--model=nbeats",
            "--stack_types=trend,seasonality,generic",
            "--blocks=1",
            "--layers=1",
            "--units=8",
            "--degree=3",
            "--dropout=0.2",
            "--horizon=4",
            "--max_epochs=8",
            "--threads=1",
        ],
        3,
    ),
    (
        "nhits with dropout",
        &[
            "--model=nhits",
            "--pool_kernels=4,1",
            "--downsampling=2,1",
            "--blocks=2",
            "--layers=1",
            "--units=8",
            "--dropout=0.2",
            "--horizon=4",
            "--max_epochs=8",
            "--threads=1",
        ],
        3,
    ),
    (
        "tide with dropout and layer normalization",
        &[
            "--model=tide",
            "--units=8",
            "--encoder_layers=2",
            "--decoder_layers=2",
            "--decoder_outputs=3",
            "--temporal_units=4",
            "--temporal_width=2",
            "--layer_norm",
            "--dropout=0.2",
            "--horizon=4",
            "--max_epochs=8",
            "--threads=1",
        ],
        3,
    ),
    (
        "tcn with dropout",
        &[
            "--model=tcn",
            "--filters=4",
            "--kernel_size=3",
            "--layers=3",
            "--dropout=0.2",
            "--max_epochs=8",
            "--threads=1",
        ],
        3,
    ),
    (
        "patchtst with dropout",
        &[
            "--model=patchtst",
            "--patch_len=6",
            "--patch_stride=3",
            "--units=6",
            "--heads=2",
            "--feedforward_units=8",
            "--layers=1",
            "--dropout=0.2",
            "--max_epochs=8",
            "--threads=1",
        ],
        3,
    ),
    (
        "nhits with quantiles and missing targets, EMA",
        &[
            "--model=nhits",
            "--loss=quantile",
            "--quantiles=0.05,0.5,0.95",
            "--data=csv",
            concat!("--csv=", env!("CARGO_MANIFEST_DIR"), "/tests/corpus/csv/gaps.csv"),
            "--horizon=3",
            "--window_size=7",
            "--units=8",
            "--ema_decay=0.9",
            "--max_epochs=20",
            "--threads=1",
        ],
        3,
    ),
    (
        "conv_lstm, exponential, SWA, top-k",
        &[
            "--model=conv_lstm",
            "--units=4",
            "--filters=4",
            "--lr=1e-6",
            "--lr_schedule=exponential",
            "--stochastic_weight_avg=true",
            "--save_top_k=2",
            "--max_epochs=10",
            "--threads=1",
        ],
        4,
    ),
];

#[test]
fn killed_run_of_every_mix_of_options_resumes_to_the_same_bits() {
    for (name, args, kills) in MIXES {
        check_kills(name, &[args, QUICK].concat(), *kills);
    }
}

/// The kill comes between the checkpoint of the last step and the end of the run.
#[test]
fn run_killed_after_its_last_step_resumes_to_the_same_results() {
    let lab = Lab::new();
    let budget = ["--max_steps", "27", "--limit_val_batches", "40"];
    let uninterrupted = lab.train(&budget);
    for at in 0..4 {
        let logs = lab.path(&format!("killed_{at}"));
        let more = ["--checkpoint_every_n_steps", "9", "--log_dir", logs.to_str().unwrap()];
        let mut child = start(lab.small(&[&budget[..], &more].concat()));
        while !logs.exists() || files(&logs).is_empty() {
            sleep(Duration::from_millis(1));
        }
        let folder = only_run(&logs);
        // The save is complete when the earlier state is removed.
        while !is_saved_at(&folder, 27) && child.try_wait().unwrap().is_none() {
            sleep(Duration::from_micros(100));
        }
        sleep(Duration::from_millis(at));
        child.kill().unwrap();
        child.wait().unwrap();
        Trained::of(resume(&folder, &["--json"]).arg("--quiet"));
        Outcome::of(&folder)
            .assert_is(&Outcome::of(&uninterrupted.folder), &format!("killed {at} ms after its last step"));
    }
}
