//! The router's own log: what it does and what goes wrong, on standard error.
//!
//! Text for people, with colours only on a terminal; or one JSON object per line. What was received
//! from elsewhere goes into fields, which the formatter escapes, never into the message.

use std::io;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::settings::{Format, Log};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter makes no sense.
    #[error("log.filter is {filter:?}, which is no filter: {reason}")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody has set up a log for the process already.
    #[error("the log is set up already: {0}")]
    Twice(String),
}

/// Sets up the log of the process.
///
/// # Errors
///
/// The filter makes no sense, or it was done before.
pub fn start(log: &Log) -> Result<(), LoggingError> {
    subscriber(log, crate::shows_colours(&io::stderr()), io::stderr)?
        .try_init()
        .map_err(|error| LoggingError::Twice(error.to_string()))
}

/// What [`start`] sets up, writing to `writer`.
///
/// # Errors
///
/// The filter makes no sense.
pub fn subscriber<W>(
    log: &Log,
    colours: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LoggingError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| LoggingError::Filter {
        filter: log.filter.clone(),
        reason: error.to_string(),
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // It would tell of them on standard error, and panic where that is what fails.
        .log_internal_errors(false);
    Ok(match log.format {
        Format::Json => Box::new(builder.json().flatten_event(true).with_ansi(false).finish()),
        Format::Text => Box::new(builder.with_ansi(colours).finish()),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::{Arc, Mutex, PoisonError};

    /// What is logged.
    #[derive(Clone, Default)]
    pub(crate) struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter: &str, events: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let log = Log { format, filter: filter.to_owned(), ..Log::default() };
        let subscriber = subscriber(&log, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, events);
        page.text()
    }

    #[test]
    fn the_filter_decides_what_is_logged() {
        let events = || {
            tracing::info!("starting");
            tracing::debug!("a detail");
        };
        assert_eq!(logged(Format::Text, "info", events).lines().count(), 1);
        assert_eq!(logged(Format::Text, "debug", events).lines().count(), 2);
        assert_eq!(logged(Format::Text, "off", events), "");
    }

    #[test]
    fn json_has_one_object_per_line_with_the_fields_at_its_top() {
        let text = logged(Format::Json, "info", || tracing::warn!(instances = 3, "scaling"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["message"], &line["instances"]), (&"scaling".into(), &3.into()));
        assert_eq!(line["level"], "WARN");
    }

    #[test]
    fn a_strangers_text_cannot_drive_the_terminal() {
        let hostile = "\x1b[2J\r\nforged";
        for format in [Format::Text, Format::Json] {
            let text = logged(format, "info", || tracing::info!(said = hostile, "a peer spoke"));
            assert!(!text.contains('\x1b'), "{text:?}");
            assert_eq!(text.lines().count(), 1, "{text:?}");
        }
    }
}
