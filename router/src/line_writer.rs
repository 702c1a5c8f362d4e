//! Lines for a file or for standard output, written by a thread of their own.
//!
//! They are handed over by a queue with a bound in lines and in bytes, so that a disk that is full,
//! or a pipe that nobody reads, holds up nobody else: lines that find the queue full are dropped
//! and counted, and the count is logged when there is room again.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Stdout, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use crate::writer_thread::WriterThread;

/// Lines on their way to where they are written. Dropping it writes what is queued.
#[derive(Debug)]
pub(crate) struct LineWriter {
    /// What is written, for messages: "the access log".
    what: &'static str,
    entries: Option<SyncSender<Entry>>,
    shared: Arc<Shared>,
    thread: WriterThread,
}

impl LineWriter {
    /// Starts a thread that writes `what` to `sink`.
    ///
    /// # Errors
    ///
    /// There are no more threads.
    pub(crate) fn start(what: &'static str, sink: Sink) -> io::Result<Self> {
        let (entries, queue) = sync_channel(QUEUE_LEN_MAX);
        let shared = Arc::<Shared>::default();
        let known = Arc::clone(&shared);
        let thread = WriterThread::start("lines", move || write(what, &queue, sink, &known))?;
        Ok(Self { what, entries: Some(entries), shared, thread })
    }

    /// Hands over `line`, which has its line break, if there is room for it.
    pub(crate) fn write(&self, line: String) {
        let Shared { queued, dropped, .. } = &*self.shared;
        let bytes = line.len();
        let has_room = queued.fetch_add(bytes, Relaxed) + bytes <= QUEUE_BYTES_MAX;
        if !has_room || !self.hand_over(Entry::Line(line)) {
            queued.fetch_sub(bytes, Relaxed);
            dropped.fetch_add(1, Relaxed);
        }
    }

    /// Opens the file anew, after it was moved away. Until it is open the old one is written to.
    pub(crate) fn reopen(&self) {
        if !self.hand_over(Entry::Reopen) {
            self.shared.reopens.store(true, Relaxed);
        }
    }

    /// How many lines have been dropped because the queue was full, or could not be written.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }

    /// Whether there was room for it.
    fn hand_over(&self, entry: Entry) -> bool {
        self.entries.as_ref().is_none_or(|entries| entries.try_send(entry).is_ok())
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        self.entries = None;
        if !self.thread.has_ended() {
            tracing::warn!("{} could not be written to its end", self.what);
        }
    }
}

/// What the thread is told.
#[derive(Debug)]
enum Entry {
    /// Write this line; it has its line break.
    Line(String),
    /// Open the file anew.
    Reopen,
}

/// What the thread and those who write to it both know.
#[derive(Debug, Default)]
struct Shared {
    /// Bytes of lines that wait to be written.
    queued: AtomicUsize,
    /// Lines that nobody will read.
    dropped: AtomicU64,
    /// The file is to be opened anew, which the queue was too full to say.
    reopens: AtomicBool,
}

impl Shared {
    fn drop_lines(&self, count: u64) {
        self.dropped.fetch_add(count, Relaxed);
    }
}

/// Where lines go.
#[derive(Debug)]
pub(crate) enum Sink {
    File { path: PathBuf, writer: BufWriter<File> },
    Stdout(BufWriter<Stdout>),
}

impl Sink {
    /// Appends to the file at `path`.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub(crate) fn file(path: PathBuf) -> io::Result<Self> {
        let writer = open(&path)?;
        Ok(Self::File { path, writer })
    }

    pub(crate) fn stdout() -> Self {
        Self::Stdout(BufWriter::with_capacity(BUFFER_BYTES, io::stdout()))
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::File { writer, .. } => writer,
            Self::Stdout(writer) => writer,
        }
    }

    /// Opens the file again under its name. The old one is kept if that fails. Of the `unsure`
    /// lines that its buffer may hold, none can be written any more if it does not take them now.
    fn reopen(&mut self, unsure: &mut u64, shared: &Shared) -> io::Result<()> {
        match self {
            Self::File { path, writer } => {
                let new = open(path)?;
                let flushed = std::mem::replace(writer, new).flush();
                let lines = std::mem::take(unsure);
                if flushed.is_err() {
                    shared.drop_lines(lines);
                }
                flushed
            }
            Self::Stdout(_) => Ok(()),
        }
    }
}

/// Writes until nobody can send any more. Lines are gathered for a moment, and while more are
/// waiting: a thread that were woken for each of them would cost more than the lines.
fn write(what: &'static str, queue: &Receiver<Entry>, mut sink: Sink, shared: &Shared) {
    let mut faults = Faults { what, broken: false, dropped: 0 };
    // Lines since the last flush that went well: they may be no further than our own buffer.
    let mut unsure = 0;
    while let Ok(first) = queue.recv() {
        std::thread::sleep(GATHERED_FOR);
        let mut next = Ok(first);
        while let Ok(entry) = next {
            if shared.reopens.swap(false, Relaxed) {
                faults.note(sink.reopen(&mut unsure, shared));
            }
            match entry {
                Entry::Line(line) => {
                    let written = sink.writer().write_all(line.as_bytes());
                    shared.queued.fetch_sub(line.len(), Relaxed);
                    match &written {
                        Ok(()) => unsure += 1,
                        Err(_) => shared.drop_lines(1),
                    }
                    faults.note(written);
                }
                Entry::Reopen => faults.note(sink.reopen(&mut unsure, shared)),
            }
            next = queue.try_recv();
        }
        let flushed = sink.writer().flush();
        let is_last = matches!(next, Err(TryRecvError::Disconnected));
        if flushed.is_ok() {
            unsure = 0;
        } else if is_last {
            shared.drop_lines(std::mem::take(&mut unsure));
        }
        faults.broken &= flushed.is_err();
        faults.note(flushed);
        faults.tell(shared.dropped.load(Relaxed));
        if is_last {
            return;
        }
    }
}

/// What went wrong, told once and not for each line.
struct Faults {
    what: &'static str,
    broken: bool,
    dropped: u64,
}

impl Faults {
    fn note(&mut self, done: io::Result<()>) {
        if let Err(error) = done
            && !std::mem::replace(&mut self.broken, true)
        {
            tracing::error!(%error, "{} cannot be written", self.what);
        }
    }

    fn tell(&mut self, dropped: u64) {
        if dropped > self.dropped {
            let lines = dropped - self.dropped;
            tracing::warn!(
                lines,
                "lines of {} were dropped: they came too fast, or could not be written",
                self.what
            );
            self.dropped = dropped;
        }
    }
}

fn open(path: &Path) -> io::Result<BufWriter<File>> {
    Ok(BufWriter::with_capacity(BUFFER_BYTES, append_to(path)?))
}

/// Opens a file to append to it. A pipe is opened to read from, too, for which nobody needs to be
/// at its other end: else the system would wait for that, and whoever opens it would hang.
pub(crate) fn append_to(path: &Path) -> io::Result<File> {
    let is_pipe = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_fifo());
    OpenOptions::new().create(true).read(is_pipe).append(true).open(path)
}

/// Lines that wait to be written, about 4 MB; a second or two of a busy router.
const QUEUE_LEN_MAX: usize = 16_384;
/// What they may hold together: apps behind `dev` write lines as long as they like.
const QUEUE_BYTES_MAX: usize = 8 << 20;
const BUFFER_BYTES: usize = 64 << 10;
/// Short beside what a reader notices, long beside the time between two requests of a busy router.
const GATHERED_FOR: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::logging::tests::Page;

    /// Writes all that is in the queue; what is said about it.
    fn written(queue: &Receiver<Entry>, sink: Sink, shared: &Shared) -> String {
        let said = Page::default();
        let page = said.clone();
        let log = crate::settings::Log::default();
        let subscriber = crate::logging::subscriber(&log, false, move || page.clone());
        tracing::subscriber::with_default(subscriber.unwrap(), || {
            write("the list", queue, sink, shared);
        });
        said.text()
    }

    #[test]
    fn lines_that_cannot_be_written_are_told_once_and_counted() {
        let (entries, queue) = sync_channel(QUEUE_LEN_MAX);
        let shared = Shared::default();
        let line = "x".repeat(99) + "\n";
        // More than is kept until there is room again.
        for _ in 0..1_000 {
            entries.send(Entry::Line(line.clone())).unwrap();
        }
        drop(entries);
        let sink = Sink::file("/dev/full".into()).unwrap();
        let said = written(&queue, sink, &shared);
        assert_eq!(said.matches("the list cannot be written").count(), 1, "{said}");
        assert_eq!(shared.dropped.load(Relaxed), 1_000, "{shared:?}");
    }

    #[test]
    fn a_rotation_counts_the_lines_that_the_old_file_did_not_take() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("list");
        let writer = open(Path::new("/dev/full")).unwrap();
        let (entries, queue) = sync_channel(QUEUE_LEN_MAX);
        let shared = Shared::default();
        for entry in ["lost\n", "lost\n", "", "kept\n"] {
            let line = Entry::Line(entry.to_owned());
            entries.send(if entry.is_empty() { Entry::Reopen } else { line }).unwrap();
        }
        drop(entries);
        let said = written(&queue, Sink::File { path: path.clone(), writer }, &shared);
        assert!(said.contains("the list cannot be written"), "{said}");
        assert_eq!(shared.dropped.load(Relaxed), 2);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept\n");
    }

    #[test]
    fn long_lines_that_nobody_reads_are_dropped_before_they_fill_the_memory() {
        let (reader, writer) = io::pipe().unwrap();
        let writer = BufWriter::new(File::from(OwnedFd::from(writer)));
        let sink = Sink::File { path: PathBuf::from("/unused"), writer };
        let lines = LineWriter::start("the list", sink).unwrap();
        let line = "x".repeat((64 << 10) - 1) + "\n";
        for _ in 0..1_000 {
            lines.write(line.clone());
        }
        // 128 may wait, and the pipe holds a few.
        assert!(lines.dropped() > 800, "{}", lines.dropped());
        // Which ends the thread.
        drop(reader);
    }

    #[test]
    fn a_pipe_that_nobody_reads_yet_holds_up_no_start_and_gets_every_line() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (opened, is_open) = sync_channel(1);
        let to = path.clone();
        std::thread::spawn(move || opened.send(Sink::file(to)));
        let sink = is_open.recv_timeout(Duration::from_secs(10)).expect("it is open").unwrap();
        let lines = LineWriter::start("the list", sink).unwrap();
        // More than a pipe holds.
        let line = "x".repeat(9_999) + "\n";
        for _ in 0..50 {
            lines.write(line.clone());
        }
        let mut read = vec![0; 50 * line.len()];
        File::open(&path).unwrap().read_exact(&mut read).unwrap();
        assert_eq!(lines.dropped(), 0);
    }

    #[test]
    fn a_full_queue_loses_no_rotation() {
        let scratch = tempfile::tempdir().unwrap();
        let (path, old) = (scratch.path().join("list"), scratch.path().join("list.1"));
        let sink = Sink::file(path.clone()).unwrap();
        std::fs::rename(&path, &old).unwrap();
        let (entries, queue) = sync_channel(1);
        let shared = Arc::<Shared>::default();
        entries.send(Entry::Line("a line\n".to_owned())).unwrap();
        let thread = WriterThread::start("idle", || {}).unwrap();
        let known = Arc::clone(&shared);
        let what = "the list";
        let lines = LineWriter { what, entries: Some(entries), shared, thread };
        lines.reopen();
        drop(lines);
        write(what, &queue, sink, &known);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a line\n");
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "");
    }
}
