//! Signals of the operating system.

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
#[derive(Debug)]
pub struct Signals(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// The signal that stops the run; 0 before it arrives.
    stop: AtomicI32,
    save: AtomicBool,
    stage: Mutex<Stage>,
}

/// What a signal that stops the run does.
#[derive(Debug, Default)]
enum Stage {
    /// Nothing: the loop looks at the signals.
    #[default]
    Held,
    /// It ends the process.
    AtOnce { folder: Option<PathBuf>, provisional: Provisional },
}

impl Signals {
    /// Starts a thread that waits for signals. SIGINT, SIGTERM and SIGHUP stop the run, and SIGUSR1 saves a checkpoint after
    /// the current step. A second SIGINT ends the process at once. A SIGHUP that is ignored, as by nohup, stays ignored.
    ///
    /// `on_end` is called before a signal ends the process at once, with the folder to continue from, if any.
    ///
    /// # Errors
    /// Fails if the operating system does not accept a handler.
    pub fn listen(on_end: impl Fn(i32, Option<PathBuf>) + Send + 'static) -> Result<Self> {
        let mut numbers = vec![SIGINT, SIGTERM];
        #[cfg(unix)]
        {
            use signal_hook::consts::{SIGHUP, SIGUSR1};
            numbers.push(SIGUSR1);
            if !process::is_ignored(SIGHUP) {
                numbers.push(SIGHUP);
            }
        }
        let mut signals = iterator::Signals::new(numbers).context("cannot register signal handlers")?;
        let shared = Arc::<Shared>::default();
        *shared.stage() = Stage::AtOnce { folder: None, provisional: Provisional::default() };
        let of_thread = Arc::clone(&shared);
        let handle = move || signals.forever().for_each(|number| of_thread.handle(number, &on_end));
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

    /// Makes a signal end the process at once, because all that is worth keeping is in the folder `continue_from`, if any. The
    /// folder `created` is then removed, unless the run keeps it.
    pub fn end_at_once(&self, continue_from: Option<&Path>, created: Option<&RunFolder>) {
        let provisional = created.map(RunFolder::provisional).unwrap_or_default();
        *self.0.stage() = Stage::AtOnce { folder: continue_from.map(Path::to_owned), provisional };
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

    fn handle(&self, number: i32, on_end: &dyn Fn(i32, Option<PathBuf>)) {
        #[cfg(unix)]
        if number == signal_hook::consts::SIGUSR1 {
            return self.save.store(true, Ordering::Relaxed);
        }
        let stage = self.stage();
        let first = self.stop.swap(number, Ordering::Relaxed) == 0;
        match &*stage {
            Stage::AtOnce { folder, provisional } => {
                provisional.remove();
                on_end(number, folder.clone());
                process::end_by_signal(number);
            }
            Stage::Held if number == SIGINT && !first => process::end_by_signal(number),
            Stage::Held => {}
        }
    }
}
