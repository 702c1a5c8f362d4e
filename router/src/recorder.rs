//! The flight recorders of all pools as an operator meets them: what to record, and dumps when they
//! are asked for.
//!
//! Each pool has a recording of its own, since each has a model of its own. That of the pool
//! `default` has the name that the settings say, that of another has its pool's name behind that:
//! `dump.shop`. All pools together may keep `recorder.ring` in memory.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use io_tokio::observe::{Checks, Observer};
use io_tokio::pool::DEFAULT_POOL;
use io_tokio::recorder::{
    DumpError, Dumped, Handle, Recorder, RecorderError, RecorderSettings, dump_at_panic,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::settings;

/// What makes a recorder for each pool.
#[derive(Debug)]
pub(crate) struct Recorders {
    settings: settings::Recorder,
    rings: Arc<Mutex<Rings>>,
}

/// Those that can be dumped, by a number of their own, and where to.
#[derive(Debug, Default)]
struct Rings {
    next: u64,
    list: Vec<(u64, Handle, PathBuf)>,
}

/// What is to watch the model of one pool.
pub(crate) type Recording = (Option<(Recorder, Listed)>, Option<Checks>);

/// Keeps a ring on the list for as long as its model is watched.
#[derive(Debug)]
pub(crate) struct Listed {
    number: u64,
    rings: Arc<Mutex<Rings>>,
}

impl Observer for Listed {}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.rings).list.retain(|(number, ..)| *number != self.number);
    }
}

impl Recorders {
    /// From here on SIGUSR1 dumps what was recorded, and so does the first panic.
    ///
    /// # Errors
    ///
    /// The signal cannot be waited for.
    pub(crate) fn start(settings: &settings::Recorder) -> std::io::Result<Self> {
        let rings: Arc<Mutex<Rings>> = Arc::default();
        let list = Arc::clone(&rings);
        dump_at_panic(move || match list.try_lock() {
            Ok(rings) => all(&rings),
            Err(TryLockError::Poisoned(rings)) => all(&rings.into_inner()),
            Err(TryLockError::WouldBlock) => Vec::new(),
        });
        // Whether there is anything to dump or not: nobody wants this signal to end the router.
        tokio::spawn(dump_when_asked(signal(SignalKind::user_defined1())?, Arc::clone(&rings)));
        Ok(Self { settings: settings.clone(), rings })
    }

    /// What is to watch the model of `pool`, which is one of `pools`.
    ///
    /// # Errors
    ///
    /// The file that is to be written all the time cannot be made.
    pub(crate) fn pool(&self, pool: &str, pools: usize) -> Result<Recording, RecorderError> {
        let settings::Recorder { ring, file, dump, check } = &self.settings;
        let ring = ring / pools.max(1);
        let file = file.as_ref().map(|file| of_pool(file, pool));
        let recorder = Recorder::new(&RecorderSettings { ring, file })?;
        let recorder = recorder.map(|recorder| {
            let listed = self.list((ring > 0).then(|| (recorder.handle(), of_pool(dump, pool))));
            (recorder, listed)
        });
        Ok((recorder, check.then_some(Checks)))
    }

    fn list(&self, ring: Option<(Handle, PathBuf)>) -> Listed {
        let mut rings = lock(&self.rings);
        let number = rings.next;
        rings.next += 1;
        if let Some((handle, path)) = ring {
            tracing::debug!(
                "kill -USR1 {} writes what the model was told and did to {}",
                std::process::id(),
                path.display()
            );
            rings.list.push((number, handle, path));
        }
        Listed { number, rings: Arc::clone(&self.rings) }
    }
}

/// The file of one pool.
fn of_pool(path: &Path, pool: &str) -> PathBuf {
    if pool == DEFAULT_POOL {
        return path.to_owned();
    }
    let mut path = path.as_os_str().to_owned();
    path.push(".");
    path.push(pool);
    path.into()
}

fn lock(rings: &Mutex<Rings>) -> MutexGuard<'_, Rings> {
    rings.lock().unwrap_or_else(PoisonError::into_inner)
}

fn all(rings: &Rings) -> Vec<(Handle, PathBuf)> {
    rings.list.iter().map(|(_, handle, path)| (handle.clone(), path.clone())).collect()
}

async fn dump_when_asked(mut asked: Signal, rings: Arc<Mutex<Rings>>) {
    while asked.recv().await.is_some() {
        let rings = all(&lock(&rings));
        if rings.is_empty() {
            tracing::warn!("{}; see recorder.ring", DumpError::Off);
        }
        for (handle, path) in rings {
            let to = path.clone();
            match tokio::task::spawn_blocking(move || handle.dump(&to)).await {
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
}
