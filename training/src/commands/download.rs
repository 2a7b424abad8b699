//! Shows the progress of downloads: a progress bar on a terminal, otherwise one line per file, and nothing with `--quiet`.

use std::io::IsTerminal;
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};
use text_recognizer::util::Progress;

use crate::experiment::OnDownload;

/// Returns a callback that shows the progress of the downloads of one data module.
pub fn report() -> OnDownload {
    // The current file, and its progress bar.
    let current: Mutex<Option<(String, ProgressBar)>> = Mutex::new(None);
    Box::new(move |progress: Progress<'_>| {
        let Ok(mut current) = current.lock() else { return };
        if current.as_ref().is_none_or(|(file, _)| file != progress.file) {
            *current = Some((progress.file.to_owned(), start(&progress)));
        }
        if let Some((_, bar)) = &*current {
            bar.set_position(progress.received);
            if Some(progress.received) == progress.total {
                bar.finish();
            }
        }
    })
}

fn start(progress: &Progress<'_>) -> ProgressBar {
    if !std::io::stderr().is_terminal() || !log::log_enabled!(log::Level::Info) {
        log::info!("downloading {}", progress.url);
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(progress.total.unwrap_or(0)).with_message(progress.file.to_owned());
    let template = "{msg} {bar:30} {bytes}/{total_bytes} [{elapsed}<{eta}, {bytes_per_sec}]";
    bar.with_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()))
}
