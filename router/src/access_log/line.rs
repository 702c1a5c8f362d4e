//! The form of a line: JSON, or the combined format that every log tool reads, with our own fields
//! behind it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::{self, Display, Formatter, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use io_tokio::observe::Access;
use io_tokio::rfc3339;
use serde::Serialize;

use crate::settings::Format;

/// One exchange as one line, with its line break.
pub(super) fn of(format: Format, access: &Access) -> String {
    match format {
        Format::Json => json(access),
        Format::Text => text(access),
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    request_id: Cow<'a, str>,
    peer: std::net::IpAddr,
    method: Cow<'a, str>,
    host: Cow<'a, str>,
    path: Cow<'a, str>,
    version: &'static str,
    status: u16,
    reason: &'static str,
    bytes_in: u64,
    bytes_out: u64,
    pool: Option<&'a str>,
    queue_ms: f64,
    first_byte_ms: Option<f64>,
    total_ms: f64,
    instance: Option<String>,
    cold_exposed: bool,
    attempts: u8,
    user_agent: Option<Cow<'a, str>>,
}

fn json(access: &Access) -> String {
    let line = Line {
        time: rfc3339::format(access.started),
        request_id: clean(&access.request_id, NAME_MAX),
        peer: access.peer,
        method: clean(access.method.as_str(), NAME_MAX),
        host: clean(&access.host, NAME_MAX),
        path: clean(&access.target, PATH_MAX),
        version: version(access.version),
        status: access.status,
        reason: access.reason,
        bytes_in: access.bytes_in,
        bytes_out: access.bytes_out,
        pool: access.pool.as_deref(),
        queue_ms: millis(access.queue),
        first_byte_ms: access.first_byte.map(millis),
        total_ms: millis(access.total),
        instance: access.instance.map(|instance| instance.to_string()),
        cold_exposed: access.cold_exposed,
        attempts: access.attempts,
        user_agent: access.user_agent.as_deref().map(|agent| clean(agent, NAME_MAX)),
    };
    // Strings and numbers only: nothing here can fail to become JSON.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    text
}

fn text(access: &Access) -> String {
    let mut line = String::with_capacity(320);
    let agent = access.user_agent.as_deref().unwrap_or_default();
    let instance = access.instance.as_ref().map_or(&"-" as &dyn Display, |it| it);
    let first_byte = access.first_byte.map(Seconds);
    let first_byte = first_byte.as_ref().map_or(&"-" as &dyn Display, |it| it);
    let written = writeln!(
        line,
        "{} - - [{}] \"{} {} {}\" {} {} \"-\" \"{}\" host={} reason={} pool={} queue={} first_byte={} \
         total={} in={} instance={} cold_exposed={} attempts={} id={}",
        access.peer,
        CommonLogTime(access.started),
        clean(access.method.as_str(), NAME_MAX),
        clean(&access.target, PATH_MAX),
        version(access.version),
        access.status,
        access.bytes_out,
        dash(agent),
        dash(&access.host),
        access.reason,
        access.pool.as_deref().unwrap_or("-"),
        Seconds(access.queue),
        first_byte,
        Seconds(access.total),
        access.bytes_in,
        instance,
        u8::from(access.cold_exposed),
        access.attempts,
        dash(&access.request_id),
    );
    debug_assert!(written.is_ok(), "writing to memory does not fail");
    line
}

/// What a client sent, harmless: at most `len_max` bytes, and what is not a printable character,
/// or could end a field, as `\xHH` (a byte) or `\u{…}`.
fn clean(text: &str, len_max: usize) -> Cow<'_, str> {
    let harmless = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ';
    if text.len() <= len_max && text.bytes().all(|byte| harmless(char::from(byte))) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len().min(len_max));
    for c in text.chars() {
        if cleaned.len() >= len_max {
            cleaned.push('…');
            break;
        }
        match c {
            c if harmless(c) || c.is_alphanumeric() => cleaned.push(c),
            c if c.is_ascii() => {
                let digits = b"0123456789abcdef";
                let byte = c as usize & 0x7f;
                cleaned.push_str("\\x");
                cleaned.extend([byte >> 4, byte & 15].map(|digit| char::from(digits[digit])));
            }
            c => cleaned.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(cleaned)
}

/// `-` for a text that is not there, as every log format has it.
fn dash(text: &str) -> Cow<'_, str> {
    if text.is_empty() { Cow::Borrowed("-") } else { clean(text, NAME_MAX) }
}

/// `2026-11-23T08:29:12.123Z` as `23/Nov/2026:08:29:12 +0000`.
fn common_log_time(rfc3339: &str) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let part = |range| rfc3339.get(range).unwrap_or("-");
    let month: usize = part(5..7).parse().unwrap_or(1);
    let month = MONTHS.get(month.saturating_sub(1)).unwrap_or(&"-");
    format!("{}/{month}/{}:{} +0000", part(8..10), part(0..4), part(11..19))
}

/// A moment as [`common_log_time`] has it, which is written anew only once a second.
struct CommonLogTime(SystemTime);

impl Display for CommonLogTime {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        thread_local! {
            static LATEST: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
        }
        let second = self.0.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        LATEST.with_borrow_mut(|(at, text)| {
            if *at != second || text.is_empty() {
                (*at, *text) = (second, common_log_time(&rfc3339::format(self.0)));
            }
            f.write_str(text)
        })
    }
}

const fn version(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_11 => "HTTP/1.1",
        http::Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/?",
    }
}

fn millis(time: Duration) -> f64 {
    // Microseconds are as fine as anybody reads.
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// In seconds with six digits behind the point.
struct Seconds(Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut digits = *b".000000";
        let mut left = self.0.subsec_micros();
        for digit in digits[1..].iter_mut().rev() {
            *digit += (left % 10) as u8;
            left /= 10;
        }
        write!(f, "{}{}", self.0.as_secs(), std::str::from_utf8(&digits).unwrap_or_default())
    }
}

/// Most bytes of a path.
const PATH_MAX: usize = 1_024;
/// Most bytes of any other text from a client.
const NAME_MAX: usize = 256;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use dispatch_model::InstanceId;
    use std::time::UNIX_EPOCH;

    /// A request that went well.
    pub(in crate::access_log) fn access() -> Access {
        Access {
            started: UNIX_EPOCH + Duration::from_millis(1_795_422_552_123),
            peer: "192.0.2.7".parse().unwrap(),
            method: http::Method::GET,
            target: "/a%20b".to_owned(),
            version: http::Version::HTTP_11,
            host: "example.org".to_owned(),
            status: 200,
            reason: "served",
            bytes_in: 3,
            bytes_out: 1_234,
            pool: Some("web".into()),
            queue: Duration::from_micros(1_500),
            handover: Some(Duration::from_micros(200)),
            app: Some(Duration::from_millis(47)),
            slot: Some(Duration::from_millis(58)),
            first_byte: Some(Duration::from_millis(50)),
            total: Duration::from_millis(61),
            instance: Some(InstanceId::new(3, 0)),
            cold_exposed: false,
            attempts: 1,
            proofs: Vec::new(),
            request_id: "abc-1".to_owned(),
            user_agent: Some("curl/8".to_owned()),
        }
    }

    #[test]
    fn text_is_the_combined_format_and_our_fields() {
        assert_eq!(
            of(Format::Text, &access()),
            "192.0.2.7 - - [23/Nov/2026:08:29:12 +0000] \"GET /a%20b HTTP/1.1\" 200 1234 \"-\" \
             \"curl/8\" host=example.org reason=served pool=web queue=0.001500 first_byte=0.050000 \
             total=0.061000 in=3 instance=i3 cold_exposed=0 attempts=1 id=abc-1\n"
        );
        let nobody = Access {
            first_byte: None,
            instance: None,
            user_agent: None,
            host: String::new(),
            ..access()
        };
        let line = of(Format::Text, &nobody);
        assert!(line.contains("\"-\" \"-\" host=- ") && line.contains("first_byte=- "), "{line}");
    }

    #[test]
    fn json_has_every_field() {
        assert_eq!(
            of(Format::Json, &access()),
            "{\"time\":\"2026-11-23T08:29:12.123Z\",\"request_id\":\"abc-1\",\
             \"peer\":\"192.0.2.7\",\"method\":\"GET\",\"host\":\"example.org\",\
             \"path\":\"/a%20b\",\"version\":\"HTTP/1.1\",\"status\":200,\"reason\":\"served\",\
             \"bytes_in\":3,\"bytes_out\":1234,\"pool\":\"web\",\"queue_ms\":1.5,\"first_byte_ms\":50.0,\
             \"total_ms\":61.0,\"instance\":\"i3\",\"cold_exposed\":false,\"attempts\":1,\
             \"user_agent\":\"curl/8\"}\n"
        );
    }

    #[test]
    fn a_client_can_neither_forge_a_line_nor_drive_a_terminal() {
        let hostile = "a\r\nb\x1b[2J\"\\\u{9b}\u{202e}é\u{7f}";
        let all = Access {
            target: hostile.to_owned(),
            host: hostile.to_owned(),
            request_id: hostile.to_owned(),
            user_agent: Some(hostile.to_owned()),
            ..access()
        };
        for format in [Format::Text, Format::Json] {
            let line = of(format, &all);
            assert_eq!(line.matches('\n').count(), 1);
            assert!(line.trim_end().chars().all(|c| !c.is_control() && c != '\u{202e}'), "{line}");
        }
        assert_eq!(clean(hostile, 100), "a\\x0d\\x0ab\\x1b[2J\\x22\\x5c\\u{9b}\\u{202e}é\\x7f");
    }

    #[test]
    fn what_a_client_sent_is_cut() {
        let long = Access {
            target: "/".repeat(100_000),
            user_agent: Some("\n".repeat(100_000)),
            ..access()
        };
        assert!(of(Format::Text, &long).len() < 2_000);
        assert!(of(Format::Json, &long).len() < 2_500);
    }
}
