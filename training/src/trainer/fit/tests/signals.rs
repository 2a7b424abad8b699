//! Signals during a run.

use super::*;

/// Runs one epoch of five batches in a folder, with a signal raised at the given batch.
fn raised(number: i32, at: usize) -> (FitSummary, Events, Run) {
    let (lit, loaders, config, folder) = (lit(), loaders(1), config(1), Run::new());
    let (signals, recorder) = (Signals::silent(), Recorder::new(&lit));
    let raise = AfterBatch(|position: Position| {
        if position.batch == at {
            signals.raise(number);
        }
    });
    let fit = Fit::new(&config, &lit, &loaders, &SingleProcess, Some(&folder.folder), json!({}));
    let fit = fit.unwrap().signals(&signals).callback(Box::new(recorder.clone())).logger(recorder.clone());
    let summary = fit.callback(Box::new(raise)).run().unwrap();
    (summary, recorder.take(), folder)
}

#[test]
fn stop_signal_ends_the_run_after_its_step_with_a_checkpoint() {
    for number in [SIGINT, SIGTERM] {
        let (summary, events, run) = raised(number, 2);
        assert_eq!((summary.stop, summary.epochs, summary.steps), (StopReason::Signal(number), 0, 2));
        assert_eq!(events.validations, []);
        assert_eq!(run.files(), ["last.safetensors", "last.state-2.safetensors"]);
        let last = checkpoint::read_weights(&run.folder.last()).unwrap();
        assert_close(&[last[0].1.double_value(&[0])], &weights(1, 1)[1..2]);
    }
}

#[test]
fn save_signal_saves_once_and_the_run_goes_on() {
    let (summary, events, run) = raised(SIGUSR1, 2);
    assert_eq!((summary.stop, summary.steps), (StopReason::MaxEpochs, 5));
    assert_eq!(events.flushes[0], 2, "two steps were logged before the first checkpoint");
    assert!(events.flushes.len() <= 3 && !events.flushes.contains(&3), "{:?}", events.flushes);
    assert_eq!(run.files(), ["best.safetensors", "last.safetensors", "last.state-5.safetensors"]);
}

#[test]
fn stop_signal_with_accumulation_waits_for_the_step() {
    let (lit, signals) = (lit(), Signals::silent());
    signals.raise(SIGTERM);
    let mut config = config(1);
    config.gradients.accumulate_grad_batches = 2;
    let loaders = loaders(1);
    let fit = Fit::new(&config, &lit, &loaders, &SingleProcess, None, Value::Null).unwrap();
    let summary = fit.signals(&signals).run().unwrap();
    assert_eq!((summary.stop, summary.steps, summary.train_batches), (StopReason::Signal(SIGTERM), 1, 2));
}

#[test]
fn checkpoint_every_n_steps_saves_within_an_epoch() {
    let (lit, loaders, folder) = (lit(), loaders(1), Run::new());
    let mut config = config(1);
    config.checkpoint.checkpoint_every_n_steps = Some(2);
    let recorder = Recorder::new(&lit);
    let fit = Fit::new(&config, &lit, &loaders, &SingleProcess, Some(&folder.folder), json!({}));
    fit.unwrap().logger(recorder.clone()).run().unwrap();
    let flushes = recorder.take().flushes;
    // At the end there are the records of five steps and of the validation.
    assert_eq!((&flushes[..2], flushes.last()), (&[2, 4][..], Some(&6)), "{flushes:?}");
}

/// The signal arrives with the last batch of an epoch: the validation is left to the resumed run.
#[test]
fn stop_signal_interrupts_the_validation_and_a_resume_repeats_it() {
    for (epochs, stop) in [(2, 0), (2, 1), (1, 0)] {
        let whole = lit();
        let (config, loaders, folder) = (config(epochs), loaders(1), Run::new());
        let (_, mut all) = run(&config, &whole, &loaders);
        let (lit, signals, recorder) = (lit(), Signals::silent(), Recorder::new(&whole));
        let raise = AfterBatch(|position: Position| {
            if (position.epoch, position.batch) == (stop, 5) {
                signals.raise(SIGTERM);
            }
        });
        let start =
            |lit| Fit::new(&config, lit, &loaders, &SingleProcess, Some(&folder.folder), json!({})).unwrap();
        let fit = start(&lit).signals(&signals).callback(Box::new(recorder.clone()));
        let summary = fit.callback(Box::new(raise)).run().unwrap();
        assert_eq!((summary.stop, summary.epochs), (StopReason::Signal(SIGTERM), stop + 1));
        assert_eq!(recorder.take().validations, all.validations.drain(..stop as usize).collect::<Vec<_>>());

        let continued = crate::testing::lit();
        let recorder = Recorder::new(&continued);
        let mut fit = start(&continued).callback(Box::new(recorder.clone()));
        fit.resume(&ResumePoint::read(&folder.folder.last()).unwrap()).unwrap();
        let summary = fit.run().unwrap();
        assert_eq!((recorder.take().validations, weight(&continued)), (all.validations, weight(&whole)));
        assert!(summary.best.is_some() && folder.folder.best().exists());
    }
}
