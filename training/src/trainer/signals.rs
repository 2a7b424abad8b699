//! Signals of the operating system.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator;

use super::RunFolder;
use super::run_folder::Provisional;
use crate::process;

/// The signals that arrived. A signal that stops the run ends the process at once, unless the run is on [hold](Signals::hold):
/// then the loop looks at the signals after each step.
pub struct Signals(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The signal that stops the run; 0 before it arrives.
    stop: AtomicI32,
    save: AtomicBool,
    stage: Mutex<Stage>,
    /// Is called before a signal ends the process; `None` for signals that never come.
    on_end: Option<Box<OnEnd>>,
}

/// A callback with the signal's number, and the folder to continue from.
type OnEnd = dyn Fn(i32, Option<&Path>) + Send + Sync;

/// The action of a signal that stops the run.
#[derive(Debug, Default)]
enum Stage {
    /// No action: the loop checks the signals.
    #[default]
    Held,
    /// The process ends.
    AtOnce { folder: Option<PathBuf>, provisional: Provisional },
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").field("stop", &self.stop()).finish_non_exhaustive()
    }
}

impl Signals {
    /// Starts a thread that waits for signals. SIGINT, SIGTERM and SIGHUP stop the run, and SIGUSR1 saves a checkpoint after
    /// the current step. A second SIGINT ends the process at once. A SIGHUP or SIGTERM that is ignored, as SIGHUP by nohup, stays
    /// ignored. An ignored SIGINT does not, because a shell ignores it for every command that it starts in the background.
    ///
    /// `on_end` is called before a signal ends the process at once, with the folder to continue from, if any.
    ///
    /// # Errors
    /// Fails if the operating system does not accept a handler.
    pub fn listen(on_end: impl Fn(i32, Option<&Path>) + Send + Sync + 'static) -> Result<Self> {
        #[cfg(unix)]
        let numbers = {
            use signal_hook::consts::{SIGHUP, SIGUSR1};
            let mut numbers = vec![SIGINT, SIGUSR1];
            numbers.extend([SIGTERM, SIGHUP].into_iter().filter(|&number| !process::is_ignored(number)));
            numbers
        };
        #[cfg(not(unix))]
        let numbers = [SIGINT, SIGTERM];
        let mut signals = iterator::Signals::new(numbers).context("cannot register signal handlers")?;
        let stage = Mutex::new(Stage::AtOnce { folder: None, provisional: Provisional::default() });
        let shared = Arc::new(Shared { stage, on_end: Some(Box::new(on_end)), ..Shared::default() });
        let of_thread = Arc::clone(&shared);
        let handle = move || signals.forever().for_each(|number| of_thread.handle(number));
        thread::Builder::new()
            .name("signals".into())
            .spawn(handle)
            .context("cannot start the thread that waits for signals")?;
        Ok(Self(shared))
    }

    /// Makes the loop responsible for signals.
    pub fn hold(&self) {
        *self.0.stage() = Stage::Held;
    }

    /// Makes a signal end the process at once, also one that has arrived and that the loop did not see, because all that is worth
    /// keeping is in the folder `continue_from`, if any. The folder `created` is then removed, unless the run keeps it.
    pub fn end_at_once(&self, continue_from: Option<&Path>, created: Option<&RunFolder>) {
        let provisional = created.map(RunFolder::provisional).unwrap_or_default();
        let mut stage = self.0.stage();
        *stage = Stage::AtOnce { folder: continue_from.map(Path::to_owned), provisional };
        if let Some(number) = self.stop() {
            self.0.end(number, &stage);
        }
    }

    /// Returns the signal that stops the run, if one arrived.
    pub fn stop(&self) -> Option<i32> {
        Some(self.0.stop.load(Ordering::Relaxed)).filter(|&number| number != 0)
    }

    /// Returns whether SIGUSR1 arrived since the last call.
    pub fn save(&self) -> bool {
        self.0.save.swap(false, Ordering::Relaxed)
    }

    /// Returns signals that never come, for a caller that handles signals itself.
    pub fn silent() -> Self {
        Self(Arc::default())
    }

    /// Raises a signal as if it came; any but SIGINT and SIGTERM asks for a checkpoint.
    #[cfg(test)]
    pub fn raise(&self, number: i32) {
        match number {
            SIGINT | SIGTERM => self.0.stop.store(number, Ordering::Relaxed),
            _ => self.0.save.store(true, Ordering::Relaxed),
        }
    }
}

impl Shared {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, number: i32) {
        #[cfg(unix)]
        if number == signal_hook::consts::SIGUSR1 {
            return self.save.store(true, Ordering::Relaxed);
        }
        let stage = self.stage();
        let first = self.stop.swap(number, Ordering::Relaxed) == 0;
        if number == SIGINT && !first {
            process::end_by_signal(number);
        }
        self.end(number, &stage);
    }

    /// Ends the process by a signal, unless the loop checks the signals.
    fn end(&self, number: i32, stage: &Stage) {
        if let (Stage::AtOnce { folder, provisional }, Some(on_end)) = (stage, &self.on_end) {
            provisional.remove();
            on_end(number, folder.as_deref());
            process::end_by_signal(number);
        }
    }
}
