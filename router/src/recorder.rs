//! The flight recorder as an operator meets it: what to record, and a dump when one is asked for.

use std::path::PathBuf;

use io_tokio::observe::{Checks, Observer};
use io_tokio::recorder::{DumpError, Dumped, Handle, Recorder, RecorderSettings};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::settings;

/// Gives what is to watch the model. From here on SIGUSR1 dumps what was recorded, and so does the
/// first panic.
///
/// # Errors
///
/// The file that is to be written all the time cannot be made.
pub(crate) fn start(settings: &settings::Recorder) -> anyhow::Result<impl Observer + use<>> {
    let settings::Recorder { ring, file, dump, check } = settings.clone();
    let recorder = Recorder::new(&RecorderSettings { ring, file })?;
    let handle = recorder.as_ref().filter(|_| ring > 0).map(Recorder::handle);
    if let Some(handle) = &handle {
        handle.dump_at_panic(dump.clone());
        tracing::debug!(
            "kill -USR1 {} writes what the model was told and did to {}",
            std::process::id(),
            dump.display()
        );
    }
    // Whether there is anything to dump or not: nobody wants this signal to end the router.
    tokio::spawn(dump_when_asked(signal(SignalKind::user_defined1())?, handle, dump));
    Ok((recorder, check.then_some(Checks)))
}

async fn dump_when_asked(mut asked: Signal, handle: Option<Handle>, path: PathBuf) {
    while asked.recv().await.is_some() {
        let (handle, to) = (handle.clone(), path.clone());
        let dump = move || handle.map_or(Err(DumpError::Off), |handle| handle.dump(&to));
        match tokio::task::spawn_blocking(dump).await {
            Ok(Ok(Dumped { steps, bytes })) => {
                tracing::info!(path = %path.display(), steps, bytes, "recording written");
            }
            Ok(Err(error @ DumpError::Off)) => tracing::warn!("{error}; see recorder.ring"),
            Ok(Err(error @ DumpError::Write { .. })) => {
                tracing::error!("{error}; recorder.dump chooses another place");
            }
            Err(error) => tracing::error!("cannot write the dump: {error}"),
        }
    }
}
