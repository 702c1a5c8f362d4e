//! Who sends requests, when, and what each needs: the traffic of a report.
//!
//! ```text
//!   [traffic] ── synthetic ──▶ pieces of a curve ─────────────────┐
//!             ── closed-loop ▶ clients that wait                  ├─▶ Opened ── seed ──▶ Stream
//!             ── recorded ───▶ importer ▶ sorted runs ▶ Recording ┘     ▲
//!   [service] ─────────────────────────────────────────────────────────┘
//! ```
//!
//! A plan's traffic is [opened](Traffic::open) once, which reads recordings; each alternative and
//! each seed then gets a [`Stream`] of its own, which is what the engine takes its arrivals from.
//! Streams of one seed are equal, and nothing holds more than a chunk of them in memory.
//!
//! ```toml
//! [traffic]
//! kind = "poisson"
//! rate = 250              # requests a second, as all rates are
//! for = "1h"
//! scale = 2               # twice as many
//! deploys = ["20m"]       # moments at which the function's code is replaced
//! ```
//!
//! | `kind` | what else it has |
//! |---|---|
//! | `poisson`, `steady` | `rate` |
//! | `on-off` | `rate_on`, `rate_off` (0), and the mean spans `on` and `off` |
//! | `diurnal` | the mean `rate`, `ratio` of peak to trough, `peak_at`, `period` (24h) |
//! | `flash-crowd` | `base` and `peak` rates, `at`, `rise`, `fall` |
//! | `steps` | `steps = [{ for = "10m", rate = 50 }, …]`; `for` may end it earlier |
//! | `closed-loop` | `clients`, and how long they `think` (0s), which is a spread |
//! | `burst` | `requests`, `at` (0s); `for` is how long one looks on |
//! | `alb`, `csv`, `flight` | `files = ["logs/*.log.gz"]` |
//! | `cloudwatch` | `files`, `period` (as the file says, or the longest that fits between points) |
//! | `azure-2019` | `files`, files of `durations`, the hash of the only `function` wanted |
//!
//! Synthetic traffic needs `for`. Recorded traffic may be cut or made longer by it; without it, it
//! lasts from its first to its last request, and for a minute at least.
//!
//! | file | what |
//! |---|---|
//! | `kind` | what a plan may say, in words and as pieces |
//! | `curve`, `closed_loop` | arrivals that nobody recorded |
//! | `service` | what requests need |
//! | `alb`, `azure`, `cloudwatch`, `csv`, `flight` | what others have recorded |
//! | `import` | from files to a recording |
//! | `lines`, `moment` | what their formats have in common |
//! | `recorded`, `sorted_runs` | recordings in order, in bounded memory |
//! | `opened` | streams of arrivals |

mod alb;
mod azure;
mod closed_loop;
mod cloudwatch;
mod csv;
mod curve;
mod flight;
mod import;
mod kind;
mod lines;
mod moment;
mod opened;
mod recorded;
mod service;
mod sorted_runs;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::progress::Progress;
use crate::spread::SpreadError;
use kind::Kind;

pub use import::{Format, import};
pub use lines::Bad;
pub use opened::{Opened, Stream};
pub use recorded::Recording;
pub use service::{Route, Service};

/// What a plan says of its traffic.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Traffic {
    kind: Kind,
    span: Option<Duration>,
    scale: f64,
    deploys: Vec<Duration>,
}

impl Traffic {
    /// What stands in `files`, all of it. Each is a path, a pattern with `*`, or `-`, which is
    /// standard input.
    #[must_use]
    pub const fn recorded(format: Format, files: Vec<String>) -> Self {
        let kind = Kind::recorded(format, files);
        Self { kind, span: None, scale: 1.0, deploys: Vec::new() }
    }

    /// Moments at which the function's code is replaced, since the beginning.
    #[must_use]
    pub fn deploys(&self) -> &[Duration] {
        &self.deploys
    }

    /// Makes arrivals possible: reads what was recorded, and the files of spreads, relative to
    /// `folder`, until `progress` is told to stop.
    ///
    /// # Errors
    ///
    /// A file cannot be used, or none has a request in it, or nobody wants them any more.
    pub fn open(
        &self,
        service: &Service,
        folder: &Path,
        progress: &Progress,
    ) -> Result<Opened, TrafficError> {
        let mut service = service.clone();
        service.read(folder)?;
        let recording = match self.kind.files() {
            Some(files) => Some(import::files(files, &service, folder, progress)?),
            None => None,
        };
        let mut kind = self.kind.clone();
        kind.read(folder)?;
        Ok(Opened::new(kind, self.span, self.scale, service, recording))
    }
}

/// As it is written in a plan.
#[derive(Deserialize)]
struct Written {
    #[serde(default, rename = "for", with = "sim::span::maybe")]
    span: Option<Duration>,
    #[serde(default = "once")]
    scale: f64,
    #[serde(default)]
    deploys: Vec<kind::Span>,
    #[serde(flatten)]
    kind: Kind,
}

const fn once() -> f64 {
    1.0
}

impl TryFrom<Written> for Traffic {
    type Error = String;

    fn try_from(Written { span, scale, deploys, kind }: Written) -> Result<Self, String> {
        if !(scale > 0.0 && scale <= SCALE_MAX) {
            return Err(format!("`scale` is {scale}, must be above 0 and at most {SCALE_MAX}"));
        }
        kind.check(span)?;
        let deploys = deploys.into_iter().map(|kind::Span(at)| at).collect();
        Ok(Self { kind, span, scale, deploys })
    }
}

const SCALE_MAX: f64 = 1e6;

/// Why there is no traffic.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// A folder is there in place of a file.
    #[error(
        "{} is a folder; write {} for the files in it",
        path.display(),
        path.join("*").display()
    )]
    Folder {
        /// Which.
        path: PathBuf,
    },
    /// A file is something else.
    #[error("{file}:{line}: {what}")]
    Foreign {
        /// Which file.
        file: String,
        /// Which line, counted from 1.
        line: u64,
        /// What it is, and what it should be.
        what: String,
    },
    /// Most lines of a file cannot be used.
    #[error(
        "{file}: {bad} of its first {seen} lines cannot be used; line {line} is `{text}`: {what}; \
         {shape}"
    )]
    MostlyBad {
        /// Which file.
        file: String,
        /// Lines that cannot be used.
        bad: u64,
        /// Lines that were read.
        seen: u64,
        /// The first that cannot be used, counted from 1.
        line: u64,
        /// Its beginning.
        text: String,
        /// What is wrong with it.
        what: String,
        /// What a line must be like.
        shape: &'static str,
    },
    /// No file is there.
    #[error(
        "no file is called {pattern}; give a path, a pattern with * that fits some, or - for \
         standard input"
    )]
    NoFile {
        /// What was asked for.
        pattern: String,
    },
    /// There are files, or there is something else to make requests of, but none comes.
    #[error("there is no request in {traffic}; nothing can be said about traffic without any")]
    Nothing {
        /// Which files, or what else.
        traffic: String,
    },
    /// The place where arrivals are sorted fails.
    #[error("arrivals cannot be written to a temporary file: {source}; TMPDIR says where it is")]
    Place {
        /// Why.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error(
        "{file} cannot be read from line {line} on: {source}; if it is compressed, it may have \
         been cut: fetch it again"
    )]
    Read {
        /// Which file.
        file: String,
        /// Which line would have been the next, counted from 1.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// The file of a spread cannot be used.
    #[error(transparent)]
    Spread(#[from] SpreadError),
    /// Nobody wanted it any more.
    #[error("stopped")]
    Stopped,
}
