//! The thread that writes the access log.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Stdout, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Entry {
    /// Write this line; it has its line break.
    Line(String),
    /// Open the file anew.
    Reopen,
}

/// Where lines go.
#[derive(Debug)]
pub(super) enum Sink {
    File { path: PathBuf, writer: BufWriter<File> },
    Stdout(BufWriter<Stdout>),
}

impl Sink {
    pub(super) fn file(path: PathBuf) -> io::Result<Self> {
        let writer = open(&path)?;
        Ok(Self::File { path, writer })
    }

    pub(super) fn stdout() -> Self {
        Self::Stdout(BufWriter::with_capacity(BUFFER_BYTES, io::stdout()))
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::File { writer, .. } => writer,
            Self::Stdout(writer) => writer,
        }
    }

    /// Opens the file again under its name. The old one is kept if that fails.
    fn reopen(&mut self) -> io::Result<()> {
        match self {
            Self::File { path, writer } => {
                let new = open(path)?;
                std::mem::replace(writer, new).flush()
            }
            Self::Stdout(_) => Ok(()),
        }
    }
}

/// Writes until nobody can send any more. Lines are gathered for a moment, and while more are
/// waiting: a thread that were woken for each of them would cost more than the lines.
pub(super) fn write(queue: &Receiver<Entry>, mut sink: Sink, dropped: &AtomicU64) {
    let mut faults = Faults::default();
    while let Ok(first) = queue.recv() {
        std::thread::sleep(GATHERED_FOR);
        let mut next = Ok(first);
        while let Ok(entry) = next {
            let done = match entry {
                Entry::Line(line) => sink.writer().write_all(line.as_bytes()),
                Entry::Reopen => sink.reopen(),
            };
            faults.note(done);
            next = queue.try_recv();
        }
        faults.note(sink.writer().flush());
        faults.tell(dropped.load(Relaxed));
        if matches!(next, Err(TryRecvError::Disconnected)) {
            return;
        }
    }
}

/// What went wrong, told once and not for each line.
#[derive(Default)]
struct Faults {
    broken: bool,
    dropped: u64,
}

impl Faults {
    fn note(&mut self, done: io::Result<()>) {
        match done {
            Ok(()) => self.broken = false,
            Err(error) if !self.broken => {
                self.broken = true;
                tracing::error!(%error, "the access log cannot be written");
            }
            Err(_) => {}
        }
    }

    fn tell(&mut self, dropped: u64) {
        if dropped > self.dropped {
            let lines = dropped - self.dropped;
            tracing::warn!(lines, "access log lines were dropped, for they came too fast");
            self.dropped = dropped;
        }
    }
}

fn open(path: &PathBuf) -> io::Result<BufWriter<File>> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    Ok(BufWriter::with_capacity(BUFFER_BYTES, file))
}

const BUFFER_BYTES: usize = 64 << 10;
/// Short beside what a reader notices, long beside the time between two requests of a busy router.
const GATHERED_FOR: Duration = Duration::from_millis(10);
