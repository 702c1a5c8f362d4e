//! From files to a recording.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dispatch_model::time::nanos;

use super::kind::Files;
use super::lines::{Bad, begin, each_line};
use super::recorded::{Book, Functions, MINUTE, Recording};
use super::service::Service;
use super::{TrafficError, alb, azure, cloudwatch, csv, flight};
use crate::progress::Progress;
use crate::spread::Spread;

/// How recorded traffic is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Access logs of an Application Load Balancer.
    Alb,
    /// Azure's trace of 2019.
    Azure2019,
    /// Exports of CloudWatch: counts.
    Cloudwatch,
    /// A table with a header.
    Csv,
    /// Our own flight recorder's.
    Flight,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "alb" => Ok(Self::Alb),
            "azure-2019" => Ok(Self::Azure2019),
            "cloudwatch" => Ok(Self::Cloudwatch),
            "csv" => Ok(Self::Csv),
            "flight" => Ok(Self::Flight),
            _ => Err(format!(
                "traffic is not recorded as `{name}`; choose alb, azure-2019, cloudwatch, csv or \
                 flight"
            )),
        }
    }
}

/// Reads `bytes` as a file of this format, compressed or not, for programs that have no files. As
/// Azure's, they are read both as times and as invocations.
///
/// # Errors
///
/// They are something else.
pub fn import(format: Format, bytes: &[u8]) -> Result<Recording, TrafficError> {
    let service = Service::new(Spread::fixed(Duration::ZERO));
    let mut importer = Importer::new(&service, format, None);
    if format == Format::Azure2019 {
        let mut times = Importer::new(&service, format, None);
        // What is no table of times may well be one of invocations.
        times.durations("bytes", bytes).ok();
        importer.functions = times.functions;
    }
    importer.file("bytes", bytes, 0)?;
    Ok(importer.close(None))
}

/// Reads files, until `progress` is told to stop.
pub(super) fn files(
    files: Files<'_>,
    service: &Service,
    folder: &Path,
    progress: &Progress,
) -> Result<Recording, TrafficError> {
    let mut importer = Importer::new(service, files.format, files.function);
    // Whatever becomes of a file that ends early.
    let or_stopped = |why| if progress.is_stopped() { TrafficError::Stopped } else { why };
    for path in paths(files.durations, folder)? {
        let file = open(&path, progress)?;
        importer.durations(&path.display().to_string(), file).map_err(or_stopped)?;
    }
    for (day, path) in (0..).zip(paths(files.files, folder)?) {
        let file = open(&path, progress)?;
        importer.file(&path.display().to_string(), file, day).map_err(or_stopped)?;
    }
    let recording = importer.close(files.period.map(nanos));
    if recording.requests() == 0 {
        return Err(TrafficError::Nothing { traffic: files.files.join(" ") });
    }
    Ok(recording)
}

/// What the patterns fit, each in the order of names. A path that is there is taken as it is,
/// whatever characters it has and whatever it is: a pipe, such as a shell's `<(zcat a.gz)`, too.
fn paths(patterns: &[String], folder: &Path) -> Result<Vec<PathBuf>, TrafficError> {
    let mut all = Vec::new();
    for pattern in patterns {
        let path = folder.join(pattern);
        let name = path.to_string_lossy().into_owned();
        let before = all.len();
        if pattern == STDIN {
            all.push(PathBuf::from(STDIN));
        } else if path.is_dir() {
            return Err(TrafficError::Folder { path });
        } else if path.exists() {
            all.push(path);
        } else if let Ok(found) = glob::glob(&name) {
            let there = |path: &PathBuf| path.exists() && !path.is_dir();
            all.extend(found.filter_map(Result::ok).filter(there));
        }
        if all.len() == before {
            return Err(TrafficError::NoFile { pattern: name });
        }
    }
    Ok(all)
}

fn open<'a>(path: &Path, progress: &'a Progress) -> Result<Wanted<'a>, TrafficError> {
    let unreadable =
        |source| TrafficError::Read { file: path.display().to_string(), line: 1, source };
    let input: Box<dyn Read> = if path == Path::new(STDIN) {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(unreadable)?)
    };
    Ok(Wanted { file: BufReader::with_capacity(64 << 10, input), progress })
}

/// How standard input is called.
const STDIN: &str = "-";

/// A file that cannot be read any more once nobody wants the report: one may take minutes.
struct Wanted<'a> {
    file: BufReader<Box<dyn Read>>,
    progress: &'a Progress,
}

impl Read for Wanted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Wanted<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.progress.is_stopped() {
            return Err(io::Error::other("stopped"));
        }
        self.file.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.file.consume(amount);
    }
}

/// What has been read of several files of one format.
struct Importer<'a> {
    book: Book<'a>,
    bad: Bad,
    format: Format,
    only: Option<&'a str>,
    functions: Functions,
}

impl<'a> Importer<'a> {
    fn new(service: &'a Service, format: Format, only: Option<&'a str>) -> Self {
        let (book, bad, functions) = (Book::new(service), Bad::default(), Functions::default());
        Self { book, bad, format, only, functions }
    }

    /// Reads a file of requests, or of counts.
    fn file(&mut self, name: &str, input: impl BufRead, day: u64) -> Result<(), TrafficError> {
        let unreadable = |source| TrafficError::Read { file: name.to_owned(), line: 1, source };
        let mut input = begin(name, input)?;
        let (book, bad) = (&mut self.book, &mut self.bad);
        match self.format {
            Format::Alb => each_line(name, input, alb::SHAPE, bad, |line| alb::line(book, line)),
            Format::Azure2019 => {
                let (functions, only) = (&self.functions, self.only);
                each_line(name, input, azure::SHAPE, bad, |line| {
                    azure::line(book, functions, only, day, line)
                })
            }
            Format::Cloudwatch => {
                if input.fill_buf().map_err(unreadable)?.trim_ascii_start().starts_with(b"{") {
                    cloudwatch::json(book, bad, name, input)
                } else {
                    let mut head = cloudwatch::Head::of(name);
                    each_line(name, input, cloudwatch::SHAPE, bad, |line| {
                        cloudwatch::line(book, &mut head, line)
                    })
                }
            }
            Format::Csv => {
                let mut columns = None;
                each_line(name, input, csv::SHAPE, bad, |line| csv::line(book, &mut columns, line))
            }
            Format::Flight => flight::read(book, bad, name, input),
        }
    }

    /// Reads a file of Azure's functions' times.
    fn durations(&mut self, name: &str, input: impl BufRead) -> Result<(), TrafficError> {
        let input = begin(name, input)?;
        let (functions, mut columns) = (&mut self.functions, None);
        each_line(name, input, azure::DURATIONS_SHAPE, &mut self.bad, |line| {
            azure::durations_line(functions, &mut columns, line)
        })
    }

    fn close(self, period: Option<u64>) -> Recording {
        match self.format {
            Format::Alb | Format::Csv | Format::Flight => self.book.requests(self.bad),
            Format::Azure2019 => self.book.counts(self.bad, Some(MINUTE), self.functions.times),
            Format::Cloudwatch => self.book.counts(self.bad, period, Vec::new()),
        }
    }
}
