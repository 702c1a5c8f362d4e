//! The flight recorder: keeps what a pool's model was told and did, for a replay.
//!
//! The driver shows every step to a [`Recorder`], which encodes it at once and gathers what comes
//! into blocks. From there a block goes to two places, each if it is wanted:
//!
//! - the *ring*, in memory. It is two halves, each a segment that begins with a copy of the model,
//!   so that what is left when the older half is dropped can always be replayed. A [`Handle`] dumps
//!   it to a file: when the operator asks, and at a panic, which is when one wishes to know;
//! - a *file* that is written all the time, by a thread of its own. A slow disk never holds up the
//!   driver: what finds the queue full is dropped and counted, and the file goes on with a new
//!   segment as soon as there is room.
//!
//! The ring's bounds are those of the encoded steps, and may be passed by what one turn of the
//! driver adds; the two copies of the model come on top.

mod file;
mod tape;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use dispatch_model::{Config, Dispatcher, Input, Output, Time};

use crate::observe::Observer;
use crate::recording::{Origin, STEPS, Step, put_block, put_origin};

use file::File;
use tape::{Taken, Tape};

/// What is to be recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecorderSettings {
    /// Bytes of steps that are kept in memory; 0 for no ring.
    pub ring: usize,
    /// A file that is written all the time. One that is there is renamed to `FILE.old` first.
    pub file: Option<PathBuf>,
}

/// Records what happens to a model. Dropping it writes the rest of the file.
#[derive(Debug)]
pub struct Recorder {
    tape: Arc<Mutex<Tape>>,
}

/// How others get at what was recorded. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    tape: Arc<Mutex<Tape>>,
}

/// A dump that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dumped {
    /// Steps in it.
    pub steps: u64,
    /// Its size.
    pub bytes: usize,
}

/// Why there is no recorder.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// Its file cannot be made.
    #[error("cannot write the recording {file}: {reason}; check that its folder can be written to")]
    Open {
        /// The file.
        file: String,
        /// What the system says.
        reason: io::Error,
    },
    /// Its thread cannot be started.
    #[error("cannot start the thread of the recorder: {0}")]
    Thread(io::Error),
}

/// Why there is no dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// Nothing is kept in memory.
    #[error("the recorder keeps nothing in memory: its ring has 0 bytes")]
    Off,
    /// The file cannot be written.
    #[error("cannot write the dump {file}: {reason}; check that its folder can be written to")]
    Write {
        /// The file.
        file: String,
        /// What the system says.
        reason: io::Error,
    },
}

impl Recorder {
    /// A recorder, unless there is nothing to record to.
    ///
    /// # Errors
    ///
    /// The file cannot be made, or there are no more threads.
    pub fn new(settings: &RecorderSettings) -> Result<Option<Self>, RecorderError> {
        if *settings == RecorderSettings::default() {
            return Ok(None);
        }
        let file = settings.file.as_deref().map(File::create).transpose()?;
        Ok(Some(Self { tape: Arc::new(Mutex::new(Tape::new(settings.ring, file))) }))
    }

    /// How to get at what it records.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { tape: Arc::clone(&self.tape) }
    }

    /// Never waits for long: others hold this only to copy pointers and an unfinished block.
    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Recorder {
    fn started(&mut self, now: Time, config: &Config, seed: u64) {
        self.tape().begin(Origin::Fresh { config: *config, seed, start: now });
    }

    fn timeout(&mut self, now: Time) {
        self.tape().push(now, Step::Timeout);
    }

    fn input(&mut self, now: Time, input: &Input) {
        self.tape().push(now, Step::Input(*input));
    }

    fn output(&mut self, now: Time, output: &Output) {
        self.tape().push(now, Step::Output(*output));
    }

    fn turn(&mut self, now: Time, model: &Dispatcher) {
        self.tape().turn(now, model);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let file = self.tape().end();
        // Outside the lock: it waits for the disk.
        drop(file);
    }
}

impl Handle {
    /// Writes the ring to `path`, whole or not at all, over what was there. Blocks on the disk; the
    /// driver is not held up.
    ///
    /// # Errors
    ///
    /// There is no ring, or the file cannot be written.
    pub fn dump(&self, path: &Path) -> Result<Dumped, DumpError> {
        let taken = self.tape.lock().unwrap_or_else(PoisonError::into_inner).take();
        write_dump(path, taken)
    }

    fn dump_from_panic(&self, path: &Path) {
        // This thread may hold the lock: then it is the recorder that has panicked.
        let taken = match self.tape.try_lock() {
            Ok(tape) => tape.take(),
            Err(TryLockError::Poisoned(tape)) => tape.into_inner().take(),
            Err(TryLockError::WouldBlock) => return,
        };
        match write_dump(path, taken) {
            Ok(Dumped { steps, bytes }) => tracing::error!(
                path = %path.display(), steps, bytes, "what led to the panic was recorded"
            ),
            Err(error) => tracing::error!("what led to the panic is lost: {error}"),
        }
    }

    /// How many steps are missing in the file because the disk was too slow.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner).dropped()
    }
}

/// Dumps rings when anything in this process panics for the first time, which an assertion of the
/// model does, after what is done at a panic already. `rings` says which, and where to; it must not
/// wait for anything.
pub fn dump_at_panic(rings: impl Fn() -> Vec<(Handle, PathBuf)> + Send + Sync + 'static) {
    let (before, done) = (std::panic::take_hook(), AtomicBool::new(false));
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        if !done.swap(true, Relaxed) {
            for (handle, path) in rings() {
                handle.dump_from_panic(&path);
            }
        }
    }));
}

fn write_dump(path: &Path, taken: Option<Vec<Taken>>) -> Result<Dumped, DumpError> {
    let mut bytes = Vec::new();
    let mut steps = 0;
    for segment in taken.ok_or(DumpError::Off)? {
        put_origin(&mut bytes, &segment.origin);
        for block in segment.blocks.iter().filter(|block| block.steps > 0) {
            put_block(&mut bytes, STEPS, &block.payload);
            steps += block.steps;
        }
    }
    replace(path, &bytes)
        .map_err(|reason| DumpError::Write { file: path.display().to_string(), reason })?;
    Ok(Dumped { steps, bytes: bytes.len() })
}

/// Writes a file beside `path` and gives it that name. Never through a link that somebody has put
/// into a folder that is everybody's.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    has_file(path)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(&beside)?;
    file.write_all(bytes)?;
    drop(file);
    fs::rename(&beside, path)
}

/// Whether there is a file at `path`, which may be given another name or be replaced.
///
/// # Errors
///
/// What is there is something else. Root could do the same to `/dev/null`, and all other programs
/// would have a growing file instead. A link is refused as well: `/dev/stdout` is one.
fn has_file(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(true),
        Ok(_) => Err(io::Error::other("what is there is no regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
