//! The access log: one line for each exchange with a client.
//!
//! A line is made where the exchange ends and written by a thread of its own, so that a disk that
//! is slow or full never holds up a request.
//!
//! What a client sent is cut and escaped, so that it can neither forge a line nor drive a terminal;
//! query strings and headers with secrets in them are not even handed to us.

mod fields;
mod line;
mod template;

use std::io;
use std::path::Path;
use std::sync::Arc;

use io_tokio::observe::{Access, AccessLog};

use crate::line_writer::{LineWriter, Sink};
use crate::settings::{AccessTarget, Log};

pub use fields::{FIELDS, Field};
pub use template::{AccessFormat, Template, TemplateError};

/// An access log that is being written. Dropping it writes what is queued.
#[derive(Debug)]
pub struct AccessWriter {
    format: AccessFormat,
    lines: LineWriter,
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
        let lines = LineWriter::start("the access log", sink).map_err(AccessLogError::Thread)?;
        Ok(Some(Self { format: log.access_format.clone(), lines }))
    }

    /// Opens the file anew, after it was moved away; what SIGHUP is for. Until it is open the old
    /// one is written to.
    pub fn reopen(&self) {
        self.lines.reopen();
    }

    /// How many lines have been dropped because the queue was full, or could not be written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lines.dropped()
    }
}

impl AccessLog for AccessWriter {
    fn record(&self, access: &Access) {
        self.lines.write(line::of(&self.format, access));
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

#[cfg(test)]
pub(crate) mod tests;
