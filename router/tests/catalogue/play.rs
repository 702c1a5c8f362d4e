//! Plays a row against a proxy and judges what came of it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::raw_app::{Body, RawApp, Seen, contains};
use crate::row::{May, Passed, Row};

/// What came of a row.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// All that came back.
    answer: Vec<u8>,
    /// The statuses in it, but for those that are only on the way.
    pub(crate) statuses: Vec<u16>,
    /// Whether the proxy closed the connection in time.
    pub(crate) closed: bool,
    /// What the app saw of the row.
    seen: Vec<Seen>,
    /// Whether the app saw the request that nobody may see.
    smuggled: bool,
}

/// Sends the row's bytes to `address` and waits until the connection closes, at most `limit` after
/// the last sign of life.
pub(crate) async fn play(row: &Row, address: SocketAddr, app: &RawApp, limit: Duration) -> Outcome {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let bytes = row.bytes();
    // A proxy that has heard enough may close while the rest is sent.
    let sending = tokio::spawn(async move {
        writer.write_all(&bytes).await.ok();
        writer
    });
    let mut answer = Vec::new();
    let mut space = [0; 4096];
    let closed = loop {
        match timeout(limit, reader.read(&mut space)).await {
            Ok(Ok(count @ 1..)) => answer.extend_from_slice(&space[..count]),
            Ok(_) => break true,
            Err(_) => break false,
        }
    };
    sending.abort();
    let statuses = statuses(&answer);
    let seen = settled(row, app).await;
    Outcome { smuggled: app.seen(&row.smuggled()).is_some(), answer, statuses, closed, seen }
}

/// What the app saw, once nothing of it is still arriving. Whoever refuses a body cuts it at once.
async fn settled(row: &Row, app: &RawApp) -> Vec<Seen> {
    let all = || app.all_seen(&row.target());
    for _ in 0..200 {
        if all().iter().all(|it| it.body != Body::Arriving) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    all()
}

/// The statuses of the answers in `bytes`. The app shows heads, but none begins with a version.
fn statuses(bytes: &[u8]) -> Vec<u16> {
    let lines =
        bytes.windows(12).filter(|it| it.starts_with(b"HTTP/1.1 ") || it.starts_with(b"HTTP/1.0 "));
    let codes = lines.filter_map(|line| std::str::from_utf8(&line[9..]).ok()?.parse().ok());
    codes.filter(|status| *status >= 200 || *status == 101).collect()
}

impl Outcome {
    /// What is wrong with it, if anything is.
    pub(crate) fn fault(&self, row: &Row) -> Option<String> {
        if self.smuggled {
            return Some("a second request was read out of it".into());
        }
        if self.statuses.len() > 1 {
            return Some(format!("{:?} for one request", self.statuses));
        }
        match &row.may {
            May::Refuse if !self.seen.is_empty() => Some("it reached the app".into()),
            May::Refuse | May::RefuseBody => self.not_refused(),
            May::Pass(passed) => self.not_passed(row, passed),
            May::RefuseOrPass(passed) => {
                let not_refused = self.not_refused()?;
                let not_passed = self.not_passed(row, passed)?;
                Some(format!("{not_refused}, and {not_passed}"))
            }
            May::FailApp => {
                let failed = matches!(self.statuses.as_slice(), [502..=504]);
                (!failed).then(|| format!("{:?} for an app that failed", self.statuses))
            }
            May::FailOrAnswer(end) => {
                let failed = matches!(self.statuses.as_slice(), [502..=504]);
                (!failed).then(|| self.not_answered(200, std::slice::from_ref(end), &[]))?
            }
            May::Answer { status, has, lacks } => self.not_answered(*status, has, lacks),
            May::CutAnswer => self.not_cut(),
        }
    }

    fn not_refused(&self) -> Option<String> {
        if self.seen.iter().any(|it| matches!(it.body, Body::Whole(_))) {
            return Some("it reached the app as a whole request".into());
        }
        match self.statuses.as_slice() {
            [400..=499 | 501 | 505] => None,
            [] if self.closed => None,
            [] => Some("it is waited for more".into()),
            other => Some(format!("{other:?} is no refusal")),
        }
    }

    fn not_passed(&self, row: &Row, passed: &Passed) -> Option<String> {
        let [seen] = self.seen.as_slice() else {
            return Some(format!("the app saw {} requests", self.seen.len()));
        };
        if self.statuses != [200] {
            return Some(format!("{:?} for a legal request", self.statuses));
        }
        let head = seen.head.to_ascii_lowercase();
        let mut at = 0;
        for part in &passed.has {
            let part = row.filled(part);
            let Some(found) = head[at..].windows(part.len()).position(|it| it == part) else {
                return Some(format!("the app did not see {:?} in its place", text(&part)));
            };
            at += found;
        }
        if let Some(part) = passed.lacks.iter().find(|part| contains(&head, part)) {
            return Some(format!("the app saw {:?}", text(part)));
        }
        let Body::Whole(body) = &seen.body else { return Some("the body was cut".into()) };
        let differs = passed.body.as_ref().is_some_and(|wanted| wanted != body);
        differs.then(|| format!("the app saw the body {:?}", text(body)))
    }

    fn not_answered(&self, status: u16, has: &[Vec<u8>], lacks: &[Vec<u8>]) -> Option<String> {
        if self.statuses != [status] {
            return Some(format!("{:?} for {status}", self.statuses));
        }
        let answer = self.answer.to_ascii_lowercase();
        if let Some(part) = has.iter().find(|part| !contains(&answer, part)) {
            return Some(format!("the answer lacks {:?}", text(part)));
        }
        let wrong = lacks.iter().find(|part| contains(&answer, part))?;
        Some(format!("the answer has {:?}", text(wrong)))
    }

    /// Whether the answer could be taken for a whole one.
    fn not_cut(&self) -> Option<String> {
        let head_end = self.answer.windows(4).position(|it| it == b"\r\n\r\n");
        let head_end = head_end?;
        let head = self.answer[..head_end].to_ascii_lowercase();
        let body = &self.answer[head_end + 4..];
        if matches!(self.statuses.as_slice(), [502..=504]) {
            return None;
        }
        let looks_whole = if contains(&head, b"transfer-encoding: chunked") {
            body.ends_with(b"0\r\n\r\n")
        } else {
            !contains(&head, b"content-length: 1000")
        };
        looks_whole.then(|| "the answer looks whole".into())
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
