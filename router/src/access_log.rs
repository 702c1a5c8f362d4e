//! The access log: one line for each exchange with a client.
//!
//! A line is made where the exchange ends and handed over a bounded queue to a thread of its own,
//! which alone touches the file. A disk that is slow or full therefore never holds up a request:
//! lines that find the queue full are dropped and counted, and the count is logged when there is
//! room again.
//!
//! What a client sent is cut and escaped, so that it can neither forge a line nor drive a terminal;
//! query strings and headers with secrets in them are not even handed to us.

mod fields;
mod line;
mod template;
mod writer;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, sync_channel};

use io_tokio::observe::{Access, AccessLog};

use crate::settings::{AccessTarget, Log};
use crate::writer_thread::WriterThread;

use writer::{Entry, Shared, Sink};

pub use fields::{FIELDS, Field};
pub use template::{AccessFormat, Template, TemplateError};

/// An access log that is being written. Dropping it writes what is queued.
#[derive(Debug)]
pub struct AccessWriter {
    format: AccessFormat,
    entries: Option<SyncSender<Entry>>,
    shared: Arc<Shared>,
    thread: WriterThread,
}

/// Why there is no access log.
#[derive(Debug, thiserror::Error)]
pub enum AccessLogError {
    /// Its file cannot be opened.
    #[error("cannot open the access log {file}: {reason}; check log.access and its permissions")]
    Open {
        /// The file.
        file: String,
        /// What the system says.
        reason: io::Error,
    },
    /// Its thread cannot be started.
    #[error("cannot start the thread of the access log: {0}")]
    Thread(io::Error),
}

impl AccessWriter {
    /// Starts the log that `log` asks for, if it asks for one.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or there are no more threads.
    pub fn start(log: &Log) -> Result<Option<Self>, AccessLogError> {
        let sink = match &log.access {
            AccessTarget::Off => return Ok(None),
            AccessTarget::Stdout => Sink::stdout(),
            AccessTarget::File(path) => Sink::file(path.clone()).map_err(|e| open(path, e))?,
        };
        let (entries, queue) = sync_channel(QUEUE_LEN_MAX);
        let shared = Arc::<Shared>::default();
        let known = Arc::clone(&shared);
        let work = move || writer::write(&queue, sink, &known);
        let thread = WriterThread::start("access-log", work).map_err(AccessLogError::Thread)?;
        let format = log.access_format.clone();
        Ok(Some(Self { format, entries: Some(entries), shared, thread }))
    }

    /// Opens the file anew, after it was moved away; what SIGHUP is for. Until it is open the old
    /// one is written to.
    pub fn reopen(&self) {
        if !self.hand_over(Entry::Reopen) {
            self.shared.reopens.store(true, Relaxed);
        }
    }

    /// How many lines have been dropped because the queue was full, or could not be written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }

    /// Whether there was room for it.
    fn hand_over(&self, entry: Entry) -> bool {
        self.entries.as_ref().is_none_or(|entries| entries.try_send(entry).is_ok())
    }
}

impl AccessLog for AccessWriter {
    fn record(&self, access: &Access) {
        if !self.hand_over(Entry::Line(line::of(&self.format, access))) {
            self.shared.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for AccessWriter {
    fn drop(&mut self) {
        self.entries = None;
        if !self.thread.has_ended() {
            tracing::warn!("the access log could not be written to its end");
        }
    }
}

/// Several logs as one: each gets every record, in order.
#[derive(Clone)]
pub struct Fanout(pub Vec<Arc<dyn AccessLog>>);

impl AccessLog for Fanout {
    fn record(&self, access: &Access) {
        for log in &self.0 {
            log.record(access);
        }
    }
}

impl std::fmt::Debug for Fanout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Fanout").field(&self.0.len()).finish()
    }
}

fn open(path: &Path, reason: io::Error) -> AccessLogError {
    AccessLogError::Open { file: path.display().to_string(), reason }
}

/// Lines that wait to be written, about 4 MB; a second or two of a busy router.
const QUEUE_LEN_MAX: usize = 16_384;

#[cfg(test)]
pub(crate) mod tests;
