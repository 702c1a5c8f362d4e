//! A thread that writes to what may be slow or stuck, and the wait for its last words.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The thread. It is told to end in its own way, and then waited for.
#[derive(Debug)]
pub(crate) struct WriterThread {
    /// Disconnects when the thread has ended. Nobody but [`has_ended`](Self::has_ended) asks.
    ended: Mutex<Receiver<()>>,
}

impl WriterThread {
    /// Starts `work` in a thread called `name`.
    ///
    /// # Errors
    ///
    /// There are no more threads.
    pub(crate) fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (end, ended) = sync_channel::<()>(0);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            work();
            drop(end);
        })?;
        Ok(Self { ended: Mutex::new(ended) })
    }

    /// Waits for a thread that was told to end. `false` if it takes too long: a reader of our
    /// standard output that has stopped, say, must not keep the router from ending.
    pub(crate) fn has_ended(&mut self) -> bool {
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        ended.recv_timeout(LAST_WORDS) != Err(RecvTimeoutError::Timeout)
    }
}

/// How long the end of the router may wait for the last lines.
const LAST_WORDS: Duration = Duration::from_secs(2);
