//! The recording that is written all the time.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::recording::{Origin, STEPS, put_block, put_origin};

use super::tape::Block;
use super::{RecorderError, has_file};

/// The driver's side of it. Dropping it waits, not for ever, until all that was sent is written.
#[derive(Debug)]
pub(super) struct File {
    parts: Option<SyncSender<Part>>,
    /// Steps dropped since the last one that was sent: the file has a gap, and goes on only with a
    /// new segment.
    gap: u64,
    /// Disconnects when the thread has written all. Only [`Drop`] asks.
    ended: Mutex<Receiver<()>>,
}

/// What the thread is given to write.
#[derive(Debug)]
enum Part {
    Begin(Arc<Origin>),
    Block(Block),
}

impl Part {
    fn put(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Begin(origin) => put_origin(bytes, origin),
            Self::Block(block) => put_block(bytes, STEPS, &block.payload),
        }
    }
}

impl File {
    /// Makes the file at `path`, and the thread that writes it.
    pub(super) fn create(path: &Path) -> Result<Self, RecorderError> {
        let open = |reason| RecorderError::Open { file: path.display().to_string(), reason };
        let file = make(path).map_err(open)?;
        let (parts, queue) = sync_channel(QUEUE_LEN_MAX);
        let (end, ended) = sync_channel::<()>(0);
        thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || {
                if let Err(error) = write(&queue, file) {
                    tracing::error!(%error, "the recording cannot be written and ends here");
                }
                drop(end);
            })
            .map_err(RecorderError::Thread)?;
        Ok(Self { parts: Some(parts), gap: 0, ended: Mutex::new(ended) })
    }

    /// Begins the first segment.
    pub(super) fn begin(&mut self, origin: Arc<Origin>) {
        self.send(Part::Begin(origin));
    }

    /// Adds `block`; after a gap, begins with the end of it anew. Gives the number of steps that
    /// are dropped.
    pub(super) fn block(&mut self, block: Block, checkpoint: impl FnOnce() -> Arc<Origin>) -> u64 {
        let steps = block.steps;
        if self.gap == 0 {
            return self.last(block);
        }
        self.gap += steps;
        if self.parts.is_some() && self.send(Part::Begin(checkpoint())) {
            let steps = self.gap;
            tracing::warn!(steps, "the recording has a gap: its disk is too slow");
            self.gap = 0;
        }
        steps
    }

    /// Adds `block` if there is no gap before it and there is room. Gives the number of steps that
    /// are dropped.
    pub(super) fn last(&mut self, block: Block) -> u64 {
        let steps = block.steps;
        if steps == 0 || (self.gap == 0 && self.send(Part::Block(block))) {
            return 0;
        }
        self.gap += steps;
        steps
    }

    fn send(&mut self, part: Part) -> bool {
        let Some(parts) = &self.parts else { return false };
        match parts.try_send(part) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => false,
            Err(TrySendError::Disconnected(_)) => {
                self.parts = None;
                false
            }
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.parts = None;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if self.gap > 0 || ended.recv_timeout(LAST_WORDS) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the recording could not be written to its end");
        }
    }
}

/// An empty file at `path`. One that is there is kept under a name that nothing has: it may be what
/// a router that crashed has left, or the recording until the settings were read anew.
fn make(path: &Path) -> io::Result<fs::File> {
    if has_file(path)? {
        fs::rename(path, free(path))?;
    }
    fs::File::create_new(path)
}

/// The first of `path.old`, `path.old.2`, `path.old.3` that is not there.
fn free(path: &Path) -> PathBuf {
    let named = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let mut name = named(".old");
    let mut number = 2_u64;
    while fs::symlink_metadata(&name).is_ok() {
        name = named(&format!(".old.{number}"));
        number += 1;
    }
    name
}

/// Writes until nobody can send any more.
fn write(queue: &Receiver<Part>, mut file: fs::File) -> io::Result<()> {
    let mut bytes = Vec::new();
    while let Ok(part) = queue.recv() {
        bytes.clear();
        part.put(&mut bytes);
        file.write_all(&bytes)?;
    }
    Ok(())
}

/// Blocks that wait to be written: 4 MiB.
const QUEUE_LEN_MAX: usize = 64;

/// How long the end of the router may wait for the last blocks.
const LAST_WORDS: Duration = Duration::from_secs(2);

#[cfg(test)]
impl File {
    /// A file on a disk that writes only when it is told to; and the telling, which gives what was
    /// written.
    pub(super) fn on_slow_disk() -> (Self, impl FnMut() -> Vec<u8>) {
        let (parts, queue) = sync_channel(QUEUE_LEN_MAX);
        let (_, ended) = sync_channel::<()>(0);
        let file = Self { parts: Some(parts), gap: 0, ended: Mutex::new(ended) };
        let write = move || {
            let mut bytes = Vec::new();
            queue.try_iter().for_each(|part| part.put(&mut bytes));
            bytes
        };
        (file, write)
    }
}
