//! `run_experiment completions`: the completion script of a shell.

use anyhow::Result;
use clap::{Args, ValueEnum};
use clap_complete::generate;

use crate::terminal;

/// The line of the command in `--help`.
pub const ABOUT: &str = "Print a shell completion script with the flags of all models and data";

/// The supported shells.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    /// Bash.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
}

/// The flags of `completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// Complete for this shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsArgs {
    /// Prints the completion script.
    ///
    /// # Errors
    /// Fails if standard output cannot be written to.
    pub fn run(&self) -> Result<()> {
        let mut command = super::all_flags();
        let mut script = Vec::new();
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        generate(shell, &mut command, "run_experiment", &mut script);
        terminal::write(&script)
    }
}
