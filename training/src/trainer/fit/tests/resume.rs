//! Runs that are resumed.

use super::*;

/// Returns the bits of the weight and of the losses.
fn bits(lit: &dyn LitModel, events: &Events) -> (u64, Vec<u64>) {
    let losses = events.metric("val_loss").into_iter().chain(events.metric("train_loss"));
    (weight(lit).to_bits(), losses.map(f64::to_bits).collect())
}

fn model() -> BaseLitModel {
    lit_with(OptimizerConfig { momentum: 0.5, ..lit().config().optimizer.clone() })
}

fn shuffled() -> Loaders {
    loaders_of(&INPUTS, 1, Shuffle::Full { seed: 9 }, &SingleProcess)
}

/// Interrupts a run at each batch of its second epoch and continues it with a model of its own.
#[test]
fn resume_within_an_epoch_gives_the_same_bits() {
    let mut config = config(3);
    config.averaging.ema_decay = 0.9;
    let alone = model();
    let (_, all) = run(&config, &alone, &shuffled());
    for stop in 1..=5 {
        let folder = Run::new();
        let interrupted = model();
        let (signals, loaders, recorder) = (Signals::silent(), shuffled(), Recorder::new(&interrupted));
        let raise = AfterBatch(|at: Position| {
            if at.epoch == 1 && at.batch == stop {
                signals.raise(SIGTERM);
            }
        });
        let keep = Some(&folder.folder);
        let fit = Fit::new(&config, &interrupted, &loaders, &SingleProcess, keep, json!({}));
        let fit = fit.unwrap().signals(&signals).callback(Box::new(raise));
        let mut fit = fit.callback(Box::new(recorder.clone())).logger(recorder.clone());
        assert_eq!(fit.run().unwrap().stop, StopReason::Signal(SIGTERM));
        drop(fit);
        let mut before = recorder.take();

        let continued = model();
        let recorder = Recorder::new(&continued);
        let fit = Fit::new(&config, &continued, &loaders, &SingleProcess, keep, json!({}));
        let mut fit = fit.unwrap().callback(Box::new(recorder.clone()));
        fit.resume(&ResumePoint::read(&folder.folder.last()).unwrap()).unwrap();
        let summary = fit.run().unwrap();
        assert_eq!((summary.epochs, summary.steps), (3, 15));
        assert_eq!(summary.train_batches as usize, 10 - stop, "by this process");
        before.validations.extend(recorder.take().validations);
        assert_eq!(bits(&continued, &before), bits(&alone, &all), "interrupted at batch {stop}");
    }
}

#[test]
fn resume_with_a_larger_budget_continues_a_finished_run() {
    let (folder, loaders, first, second) = (Run::new(), shuffled(), model(), model());
    let start = |config: &TrainerConfig, lit: &BaseLitModel, resume: bool| {
        let keep = Some(&folder.folder);
        let mut fit = Fit::new(config, lit, &loaders, &SingleProcess, keep, json!({})).unwrap();
        if resume {
            fit.resume(&ResumePoint::read(&folder.folder.last()).unwrap()).unwrap();
        }
        fit.run().unwrap()
    };
    start(&config(2), &first, false);
    let again = start(&config(2), &second, true);
    assert_eq!((again.steps, again.train_batches, again.stop), (10, 0, StopReason::MaxEpochs));
    assert_eq!(start(&config(3), &second, true).steps, 15);
    let alone = model();
    run(&config(3), &alone, &shuffled());
    assert_eq!(weight(&second).to_bits(), weight(&alone).to_bits());
}

#[test]
fn resume_of_an_early_stopped_run_has_nothing_left_to_do() {
    let still = || lit_with(OptimizerConfig { lr: 1e-300, ..lit().config().optimizer.clone() });
    let mut config = config(20);
    config.early_stopping.early_stop_patience = 2;
    let (folder, loaders) = (Run::new(), loaders(5));
    let keep = Some(&folder.folder);
    let (first, second) = (still(), still());
    let fit = Fit::new(&config, &first, &loaders, &SingleProcess, keep, json!({}));
    let stop = fit.unwrap().run().unwrap().stop;
    let fit = Fit::new(&config, &second, &loaders, &SingleProcess, keep, json!({}));
    let mut fit = fit.unwrap();
    fit.resume(&ResumePoint::read(&folder.folder.last()).unwrap()).unwrap();
    let summary = fit.run().unwrap();
    assert_eq!((summary.stop, summary.train_batches, summary.epochs), (stop, 0, 3));
}

#[test]
fn resume_from_weights_alone_is_an_error() {
    let (folder, loaders, lit) = (Run::new(), loaders(5), lit());
    let config = config(1);
    let keep = Some(&folder.folder);
    let fit = Fit::new(&config, &lit, &loaders, &SingleProcess, keep, json!({}));
    fit.unwrap().run().unwrap();
    let fit = Fit::new(&config, &lit, &loaders, &SingleProcess, keep, json!({}));
    drop(fit);
    let error = ResumePoint::read(&folder.folder.best()).unwrap_err().to_string();
    assert!(error.contains("contains only weights") && error.contains("--load_checkpoint"), "{error}");
}

/// Interrupts runs with non-finite batches at each of their steps. A clock decides when they save, but not what they restore.
#[test]
fn resume_with_restore_gives_the_same_bits() {
    let rows = [1.0, 2.0, f64::NAN, 4.0, 5.0];
    let loaders = || loaders_of(&rows, 1, Shuffle::Full { seed: 9 }, &SingleProcess);
    for every in [None, Some(2)] {
        let mut config = config(3);
        config.nonfinite.on_nonfinite = OnNonfinite::Restore;
        config.checkpoint.checkpoint_every_n_steps = every;
        let alone = model();
        let (summary, _) = run(&config, &alone, &loaders());
        assert_eq!(summary.skipped, 3);
        for stop in 1..=14 {
            let (folder, interrupted, continued) = (Run::new(), model(), model());
            let (signals, data) = (Signals::silent(), loaders());
            let raise = AfterBatch(|at: Position| {
                if at.epoch * 5 + at.batch as u64 == stop {
                    signals.raise(SIGTERM);
                }
            });
            let start =
                |lit| Fit::new(&config, lit, &data, &SingleProcess, Some(&folder.folder), json!({})).unwrap();
            let mut fit = start(&interrupted).signals(&signals).callback(Box::new(raise));
            assert_eq!(fit.run().unwrap().stop, StopReason::Signal(SIGTERM));
            drop(fit);
            let mut fit = start(&continued);
            fit.resume(&ResumePoint::read(&folder.folder.last()).unwrap()).unwrap();
            assert_eq!(fit.run().unwrap().skipped, 3);
            assert_eq!(weight(&continued).to_bits(), weight(&alone).to_bits(), "stopped after batch {stop}");
        }
    }
}
