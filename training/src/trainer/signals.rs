//! What the operating system asks of a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Remembers signals until the loop has time for them.
#[derive(Debug)]
pub struct Signals {
    stop: [(i32, Arc<AtomicBool>); 2],
    save: Arc<AtomicBool>,
}

impl Signals {
    /// Listens: SIGINT and SIGTERM ask for an end after the step at hand, a second SIGINT ends the process at once,
    /// SIGUSR1 asks for a checkpoint.
    ///
    /// # Errors
    /// When the operating system refuses a handler.
    pub fn listen() -> Result<Self> {
        let [stop, save] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let terminate = Arc::new(AtomicBool::new(false));
        let register = || -> std::io::Result<()> {
            // Registered first, so that it sees the flag as the signal before has left it.
            flag::register_conditional_shutdown(SIGINT, 128 + SIGINT, Arc::clone(&stop))?;
            flag::register(SIGINT, Arc::clone(&stop))?;
            flag::register(SIGTERM, Arc::clone(&terminate))?;
            #[cfg(unix)]
            flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&save))?;
            Ok(())
        };
        register().context("listening for signals")?;
        Ok(Self { stop: [(SIGINT, stop), (SIGTERM, terminate)], save })
    }

    /// The signal that asks for an end, if one came.
    pub fn stop(&self) -> Option<i32> {
        self.stop.iter().find(|(_, flag)| flag.load(Ordering::Relaxed)).map(|(number, _)| *number)
    }

    /// Whether a checkpoint was asked for since the last call.
    pub fn save(&self) -> bool {
        self.save.swap(false, Ordering::Relaxed)
    }
}
