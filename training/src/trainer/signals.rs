//! Signals of the operating system.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The signals that arrived. The loop checks them after each step.
#[derive(Debug)]
pub struct Signals {
    stop: [(i32, Arc<AtomicBool>); 2],
    save: Arc<AtomicBool>,
}

impl Signals {
    /// Registers handlers. SIGINT and SIGTERM stop the run after the current step, a second SIGINT ends the process at
    /// once, and SIGUSR1 saves a checkpoint after the current step.
    ///
    /// # Errors
    /// Fails if the operating system does not accept a handler.
    pub fn listen() -> Result<Self> {
        let [stop, save] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let terminate = Arc::new(AtomicBool::new(false));
        let register = || -> std::io::Result<()> {
            // Register this handler first: it reads the flag before the next handler sets it.
            flag::register_conditional_shutdown(SIGINT, 128 + SIGINT, Arc::clone(&stop))?;
            flag::register(SIGINT, Arc::clone(&stop))?;
            flag::register(SIGTERM, Arc::clone(&terminate))?;
            #[cfg(unix)]
            flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&save))?;
            Ok(())
        };
        register().context("cannot register signal handlers")?;
        Ok(Self { stop: [(SIGINT, stop), (SIGTERM, terminate)], save })
    }

    /// Returns the signal that stops the run, if one arrived.
    pub fn stop(&self) -> Option<i32> {
        self.stop.iter().find(|(_, flag)| flag.load(Ordering::Relaxed)).map(|(number, _)| *number)
    }

    /// Returns whether SIGUSR1 arrived since the last call.
    pub fn save(&self) -> bool {
        self.save.swap(false, Ordering::Relaxed)
    }

    /// Returns signals that never come, for a caller that handles signals itself.
    pub fn silent() -> Self {
        let flag = Arc::<AtomicBool>::default;
        Self { stop: [(SIGINT, flag()), (SIGTERM, flag())], save: flag() }
    }

    /// Raises a signal as if it came; any but SIGINT and SIGTERM asks for a checkpoint.
    #[cfg(test)]
    pub fn raise(&self, number: i32) {
        let stop = self.stop.iter().find(|(stop, _)| *stop == number).map(|(_, flag)| flag);
        stop.unwrap_or(&self.save).store(true, Ordering::Relaxed);
    }
}
