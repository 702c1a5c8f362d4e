//! The thread that writes the access log.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Stdout, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
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

/// What the thread and those who write to its log both know.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Lines that nobody will read.
    pub(super) dropped: AtomicU64,
    /// The file is to be opened anew, which the queue was too full to say.
    pub(super) reopens: AtomicBool,
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
pub(super) fn write(queue: &Receiver<Entry>, mut sink: Sink, shared: &Shared) {
    let mut faults = Faults::default();
    while let Ok(first) = queue.recv() {
        std::thread::sleep(GATHERED_FOR);
        let mut next = Ok(first);
        while let Ok(entry) = next {
            if shared.reopens.swap(false, Relaxed) {
                faults.note(sink.reopen());
            }
            match entry {
                Entry::Line(line) => {
                    let written = sink.writer().write_all(line.as_bytes());
                    if written.is_err() {
                        shared.dropped.fetch_add(1, Relaxed);
                    }
                    faults.note(written);
                }
                Entry::Reopen => faults.note(sink.reopen()),
            }
            next = queue.try_recv();
        }
        let flushed = sink.writer().flush();
        // Until then a line may be no further than our own buffer.
        faults.broken &= flushed.is_err();
        faults.note(flushed);
        faults.tell(shared.dropped.load(Relaxed));
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
        if let Err(error) = done
            && !std::mem::replace(&mut self.broken, true)
        {
            tracing::error!(%error, "the access log cannot be written");
        }
    }

    fn tell(&mut self, dropped: u64) {
        if dropped > self.dropped {
            let lines = dropped - self.dropped;
            tracing::warn!(
                lines,
                "access log lines were dropped: they came too fast, or could not be written"
            );
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
