//! The router's own log: what it does and what goes wrong, on standard error.
//!
//! Text for people, with colours only on a terminal; or one JSON object per line. What was received
//! from elsewhere goes into fields, which the formatter escapes, never into the message.

use std::io;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter};
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
    let filter = filter(&log.filter)
        .map_err(|reason| LoggingError::Filter { filter: log.filter.clone(), reason })?;
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

/// What a text such as `info,io_tokio=debug` lets through. A level that stands for all lets through
/// no more than `info` of the AWS client.
///
/// # Errors
///
/// What is wrong with it, in words.
pub(crate) fn filter(text: &str) -> Result<EnvFilter, String> {
    let mut filter = EnvFilter::default();
    let level = parts(text).filter_map(|part| part.parse::<LevelFilter>().ok()).last();
    // At debug the AWS client says whose key it signs with. Whoever names it has what it says.
    let held = "aws_=info".parse().map_err(|error| format!("aws_=info: {error}"))?;
    if level > Some(LevelFilter::INFO) {
        filter = filter.add_directive(held);
    }
    for part in parts(text) {
        // A word that is no level is a target to `tracing`, beside which nothing is logged.
        if !part.contains(['=', '[']) && part.parse::<LevelFilter>().is_err() {
            return Err(format!("{part} is no level"));
        }
        let directive = part.parse::<Directive>().map_err(|error| format!("{part}: {error}"))?;
        // All at once, it would tell on standard error what this build cannot log.
        filter = filter.add_directive(directive);
    }
    Ok(filter)
}

/// Whether `text` asks for more than `most`, which is what a build can log.
pub(crate) fn asks_for_more(text: &str, most: LevelFilter) -> bool {
    let level = |part: &str| part.rsplit('=').next().and_then(|level| level.parse().ok());
    // Where no level is named, all is meant.
    parts(text).any(|part| level(part).unwrap_or(LevelFilter::TRACE) > most)
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
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

    /// What the log has of `events`.
    pub(crate) fn logged(format: Format, filter: &str, events: impl FnOnce()) -> String {
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
    fn the_aws_client_is_heard_below_info_only_where_it_is_named() {
        let events = || tracing::debug!(target: "aws_smithy_runtime::client", "signed by AKIA");
        for quiet in ["debug", "trace,io_tokio=debug", "info", "warn"] {
            assert_eq!(logged(Format::Text, quiet, events), "", "{quiet}");
        }
        for named in ["info,aws_smithy_runtime=debug", "debug,aws_smithy_runtime=debug"] {
            assert_eq!(logged(Format::Text, named, events).lines().count(), 1, "{named}");
        }
        let warned = || tracing::info!(target: "aws_config", "a detail");
        assert_eq!(logged(Format::Text, "warn", warned), "", "no more than was asked for");
    }

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for wrong in ["warning", "verbose", "info,verbose", "io_tokio", "io_tokio=loud", "=,="] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
        for right in ["WARN", "off", "3", "info, io_tokio=debug,", "[request]=debug", "warn,a[b]"] {
            assert!(filter(right).is_ok(), "{right}");
        }
        let events = || tracing::debug!(target: "io_tokio", "a detail");
        assert_eq!(logged(Format::Text, "info, io_tokio=debug", events).lines().count(), 1);
    }

    #[test]
    fn what_a_build_cannot_log_is_noticed() {
        for most in ["trace", "info,io_tokio=trace", "5", "[request]"] {
            assert!(asks_for_more(most, LevelFilter::DEBUG), "{most}");
            assert!(!asks_for_more(most, LevelFilter::TRACE), "{most}");
        }
        assert!(!asks_for_more("debug,io_tokio=info,[request{id=7}]=warn", LevelFilter::DEBUG));
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
