//! Files line by line: compressed or not, never more than one line in memory, and with a book of
//! the lines that could not be used.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::TrafficError;

/// Lines that could not be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bad {
    /// How many.
    pub lines: u64,
    /// The first of them: `file:line: what`.
    pub first: Vec<String>,
}

impl Bad {
    pub(super) fn add(&mut self, file: &str, line: u64, what: &str) {
        self.lines += 1;
        if self.first.len() < NAMED {
            self.first.push(format!("{file}:{line}: {what}"));
        }
    }
}

/// What is wrong.
#[derive(Debug)]
pub(super) enum Wrong {
    /// With all of the file: it is not what it was said to be.
    File(String),
    /// With one line, which is left out.
    Line(String),
    /// With the place where all this is written to.
    Place(io::Error),
}

/// Without a name: in most lines there is nothing else to say.
impl From<&str> for Wrong {
    fn from(what: &str) -> Self {
        Self::Line(what.to_owned())
    }
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Self::Place(error)
    }
}

/// `input` as it was before it was compressed, if it was, and without the mark with which Windows
/// begins a text: both are seen from the first bytes, since names lie.
///
/// # Errors
///
/// It cannot be read, or is in UTF-16.
pub(super) fn begin<'a>(
    file: &str,
    mut input: impl BufRead + 'a,
) -> Result<Box<dyn BufRead + 'a>, TrafficError> {
    let file = || file.to_owned();
    let unreadable = |source| TrafficError::Read { file: file(), line: 1, source };
    let is_packed = input.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
    let mut input: Box<dyn BufRead + 'a> = if is_packed {
        Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(input)))
    } else {
        Box::new(input)
    };
    let first = input.fill_buf().map_err(unreadable)?;
    if first.starts_with(b"\xff\xfe") || first.starts_with(b"\xfe\xff") {
        let what = "it is text in UTF-16, as PowerShell's `>` writes it; write it in UTF-8, with \
                    `| Out-File -Encoding utf8 FILE`"
            .to_owned();
        return Err(TrafficError::Foreign { file: file(), line: 1, what });
    }
    if first.starts_with(UTF_8) {
        input.consume(UTF_8.len());
    }
    Ok(input)
}

/// Hands each line of `input` but empty ones to `take`, without its end.
///
/// # Errors
///
/// It cannot be read; more than half of the first 1,000 lines, or of all if there are fewer, are
/// bad, and `shape` says what they should be like; or what else `take` says of the file.
pub(super) fn each_line(
    file: &str,
    mut input: impl BufRead,
    shape: &'static str,
    bad: &mut Bad,
    mut take: impl FnMut(&[u8]) -> Result<(), Wrong>,
) -> Result<(), TrafficError> {
    let mut line = Vec::new();
    let (mut number, mut seen) = (0_u64, 0_u64);
    let mut worst: Option<Worst> = None;
    let mut bad_here = 0_u64;
    loop {
        number += 1;
        let is_whole = next_line(&mut input, &mut line).map_err(|source| TrafficError::Read {
            file: file.to_owned(),
            line: number,
            source,
        })?;
        let Some(is_whole) = is_whole else { break };
        if line.is_empty() {
            continue;
        }
        seen += 1;
        let taken = if is_whole { take(&line) } else { Err(Wrong::from(TOO_LONG)) };
        match taken {
            Ok(()) => {}
            Err(Wrong::File(what)) => {
                return Err(TrafficError::Foreign { file: file.to_owned(), line: number, what });
            }
            Err(Wrong::Line(what)) => {
                bad.add(file, number, &what);
                bad_here += 1;
                worst.get_or_insert_with(|| Worst { number, what, text: shortened(&line) });
            }
            Err(Wrong::Place(source)) => return Err(TrafficError::Place { source }),
        }
        if seen == LOOK && bad_here * 2 > seen {
            break;
        }
    }
    match worst {
        Some(Worst { number: line, what, text }) if seen <= LOOK && bad_here * 2 > seen => {
            let file = file.to_owned();
            Err(TrafficError::MostlyBad { file, bad: bad_here, seen, line, what, text, shape })
        }
        Some(_) | None => Ok(()),
    }
}

/// The first bad line of a file.
struct Worst {
    number: u64,
    what: String,
    text: String,
}

/// Reads a line without its end; false if it was too long and is cut, none at the end.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    line.clear();
    if input.by_ref().take(LINE_MAX).read_until(b'\n', line)? == 0 {
        return Ok(None);
    }
    let mut is_whole = true;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() as u64 == LINE_MAX {
        is_whole = skip_line(input)?;
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(is_whole))
}

/// Skips what is left of a line; true if nothing was.
fn skip_line(input: &mut impl BufRead) -> io::Result<bool> {
    let mut skipped = 0;
    loop {
        let buffer = input.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let length = end.unwrap_or(buffer.len());
        skipped += length;
        let is_over = end.is_some() || buffer.is_empty();
        input.consume(length + usize::from(end.is_some()));
        if is_over {
            return Ok(skipped == 0);
        }
    }
}

/// The beginning of a line, to be shown.
pub(super) fn shortened(line: &[u8]) -> String {
    let shown = &line[..line.len().min(SHOWN)];
    let dots = if shown.len() < line.len() { "…" } else { "" };
    let text = String::from_utf8_lossy(shown);
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>() + dots
}

/// The fields of a line with `between` between them; one that begins with a quotation mark goes to
/// the next, which both are left away. In tables, whose fields commas are between, two in a row are
/// one of the field (RFC 4180), which stays as it is written: nobody looks for one.
pub(super) const fn fields(line: &[u8], between: u8) -> Fields<'_> {
    Fields { rest: Some(line), between }
}

#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: Option<&'a [u8]>,
    between: u8,
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let (field, after) = if let Some(quoted) = rest.strip_prefix(b"\"") {
            let end = self.end_of(quoted);
            (&quoted[..end], quoted.get(end + 1..).unwrap_or_default())
        } else {
            let end = rest.iter().position(|byte| *byte == self.between).unwrap_or(rest.len());
            (&rest[..end], &rest[end..])
        };
        let next = after.iter().position(|byte| *byte == self.between);
        self.rest = next.map(|next| &after[next + 1..]);
        Some(field)
    }
}

impl Fields<'_> {
    /// Where the quotation mark is that ends a field.
    fn end_of(&self, quoted: &[u8]) -> usize {
        let mut from = 0;
        while let Some(mark) = quoted[from..].iter().position(|byte| *byte == b'"') {
            let end = from + mark;
            let is_doubled = self.between == b',' && quoted.get(end + 1) == Some(&b'"');
            if !is_doubled {
                return end;
            }
            from = end + 2;
        }
        quoted.len()
    }
}

/// How many bad lines are named.
const NAMED: usize = 5;
/// How many lines of a file decide whether it is what it was said to be.
const LOOK: u64 = 1_000;
/// Bytes of a line that are taken: an ALB's lines may hold a path, a header and a trace of 8 KiB.
const LINE_MAX: u64 = 64 << 10;
/// Bytes of a bad line that are shown.
const SHOWN: usize = 120;
const BUFFER: usize = 64 << 10;
/// How a text in UTF-8 may begin to say so.
const UTF_8: &[u8] = b"\xef\xbb\xbf";
const TOO_LONG: &str = "longer than 64 KiB";

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Result<(Vec<String>, Bad), TrafficError> {
        let (mut taken, mut bad) = (Vec::new(), Bad::default());
        each_line("f", bytes, "like ok", &mut bad, |line| {
            taken.push(String::from_utf8_lossy(line).into_owned());
            if line.starts_with(b"no") { Err("it says no".into()) } else { Ok(()) }
        })?;
        Ok((taken, bad))
    }

    #[test]
    fn bad_lines_are_counted_and_the_first_are_named() {
        let (_, bad) = lines(b"ok\r\nno\n\nok\nok\nno").unwrap();
        assert_eq!(bad.lines, 2);
        assert_eq!(bad.first, ["f:2: it says no", "f:6: it says no"]);
    }

    #[test]
    fn file_that_is_mostly_bad_stops_with_its_first_bad_line() {
        let error = lines(b"ok\nno way\nno\n").expect_err("two of three are bad").to_string();
        for part in ["f: 2 of its first 3 lines", "line 2", "no way", "it says no", "like ok"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let late = b"ok\n".repeat(600).into_iter().chain(b"no\n".repeat(5_000));
        let (taken, bad) = lines(&late.collect::<Vec<_>>()).unwrap();
        assert_eq!((taken.len(), bad.lines), (5_600, 5_000));
        assert!(lines(&b"no\n".repeat(5_000)).is_err());
    }

    #[test]
    fn endless_line_is_bad_and_takes_no_memory() {
        let long = usize::try_from(LINE_MAX).unwrap();
        for (length, bad_lines) in [(long - 1, 0), (long, 0), (long + 1, 1), (3 * long, 1)] {
            let text = [b"ok\n".to_vec(), vec![b'x'; length], b"\nok\n".to_vec()].concat();
            let (taken, bad) = lines(&text).unwrap();
            assert_eq!((taken.len() as u64, bad.lines), (3 - bad_lines, bad_lines), "{length}");
        }
    }

    #[test]
    fn quoted_fields_may_hold_what_is_between_fields() {
        let all: Vec<_> = fields(br#"h2 "GET / HTTP/1.1" "" x "open"#, b' ').collect();
        assert_eq!(all, [&b"h2"[..], b"GET / HTTP/1.1", b"", b"x", b"open"]);
        assert_eq!(fields(b"a,,", b',').count(), 3);
    }

    #[test]
    fn two_quotation_marks_in_a_field_of_a_table_do_not_end_it() {
        let all: Vec<_> = fields(br#""/a?q=""x,y""",0,"","""","o""pen"#, b',').collect();
        let (path, mark, open) = (br#"/a?q=""x,y"""#, br#""""#, br#"o""pen"#);
        assert_eq!(all, [&path[..], b"0", b"", mark, open]);
    }
}
