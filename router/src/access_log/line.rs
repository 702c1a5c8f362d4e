//! One exchange as one line.

use std::borrow::Cow;
use std::time::Duration;

use io_tokio::observe::Access;
use io_tokio::rfc3339;
use serde::Serialize;

use super::template::AccessFormat;

/// One exchange as one line, with its line break.
pub(super) fn of(format: &AccessFormat, access: &Access) -> String {
    match format {
        AccessFormat::Json => json(access),
        AccessFormat::Template(template) => template.line(access),
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    request_id: Cow<'a, str>,
    client: std::net::IpAddr,
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
    handover_ms: Option<f64>,
    app_ms: Option<f64>,
    slot_ms: Option<f64>,
    first_byte_ms: Option<f64>,
    total_ms: f64,
    instance: Option<String>,
    cold_exposed: bool,
    attempts: u8,
    proofs: Vec<&'static str>,
    user_agent: Option<Cow<'a, str>>,
}

fn json(access: &Access) -> String {
    let line = Line {
        time: rfc3339::format(access.started),
        request_id: clean(&access.request_id, NAME_MAX, true),
        client: access.client,
        peer: access.peer,
        method: clean(access.method.as_str(), NAME_MAX, true),
        host: clean(&access.host, NAME_MAX, true),
        path: clean(&access.target, PATH_MAX, true),
        version: version(access.version),
        status: access.status,
        reason: access.reason,
        bytes_in: access.bytes_in,
        bytes_out: access.bytes_out,
        pool: access.pool.as_deref(),
        queue_ms: millis(access.queue),
        handover_ms: access.handover.map(millis),
        app_ms: access.app.map(millis),
        slot_ms: access.slot.map(millis),
        first_byte_ms: access.first_byte.map(millis),
        total_ms: millis(access.total),
        instance: access.instance.map(|instance| instance.to_string()),
        cold_exposed: access.cold_exposed,
        attempts: access.attempts,
        proofs: access.proofs.iter().map(|proof| proof.name()).collect(),
        user_agent: access.user_agent.as_deref().map(|agent| clean(agent, NAME_MAX, true)),
    };
    // Strings and numbers only: nothing here can fail to become JSON.
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    text
}

/// What a client sent, harmless: at most `len_max` bytes, and what is not a printable character,
/// or could end a field, as `\xHH` (a byte) or `\u{…}`. A blank can, unless it `keeps_blanks`.
pub(super) fn clean(text: &str, len_max: usize, keeps_blanks: bool) -> Cow<'_, str> {
    let harmless =
        |c: char| c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ' && keeps_blanks;
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

pub(super) const fn version(version: http::Version) -> &'static str {
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

/// Most bytes of a path.
pub(super) const PATH_MAX: usize = 1_024;
/// Most bytes of any other text from a client.
pub(super) const NAME_MAX: usize = 256;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use dispatch_model::InstanceId;
    use std::time::UNIX_EPOCH;

    /// A request that went well.
    pub(crate) fn access() -> Access {
        Access {
            started: UNIX_EPOCH + Duration::from_millis(1_795_422_552_123),
            peer: "10.0.0.1".parse().unwrap(),
            client: "192.0.2.7".parse().unwrap(),
            method: http::Method::GET,
            target: "/a%20b".to_owned(),
            version: http::Version::HTTP_11,
            host: "example.org".to_owned(),
            status: 200,
            reason: "served",
            bytes_in: 3,
            bytes_out: 1_234,
            pool: Some("web".into()),
            in_line: Some(Duration::from_millis(1)),
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
            trace: None,
        }
    }

    #[test]
    fn text_is_the_combined_format_and_our_fields() {
        assert_eq!(
            of(&AccessFormat::text(), &access()),
            "192.0.2.7 - - [23/Nov/2026:08:29:12 +0000] \"GET /a%20b HTTP/1.1\" 200 1234 \"-\" \
             \"curl/8\" host=example.org reason=served pool=web queue=0.001500 first_byte=0.050000 \
             total=0.061000 in=3 instance=i3 cold_exposed=0 attempts=1 id=abc-1\n"
        );
        let combined = AccessFormat::parse("combined").unwrap();
        let line = of(&combined, &access());
        assert!(line.ends_with(" 200 1234 \"-\" \"curl/8\"\n"), "{line}");
        let nobody = Access {
            first_byte: None,
            instance: None,
            user_agent: None,
            host: String::new(),
            ..access()
        };
        let line = of(&AccessFormat::text(), &nobody);
        assert!(line.contains("\"-\" \"-\" host=- ") && line.contains("first_byte=- "), "{line}");
    }

    #[test]
    fn json_has_every_field() {
        assert_eq!(
            of(&AccessFormat::Json, &access()),
            "{\"time\":\"2026-11-23T08:29:12.123Z\",\"request_id\":\"abc-1\",\
             \"client\":\"192.0.2.7\",\"peer\":\"10.0.0.1\",\"method\":\"GET\",\"host\":\"example.org\",\
             \"path\":\"/a%20b\",\"version\":\"HTTP/1.1\",\"status\":200,\"reason\":\"served\",\
             \"bytes_in\":3,\"bytes_out\":1234,\"pool\":\"web\",\"queue_ms\":1.5,\"handover_ms\":0.2,\
             \"app_ms\":47.0,\"slot_ms\":58.0,\"first_byte_ms\":50.0,\"total_ms\":61.0,\"instance\":\"i3\",\"cold_exposed\":false,\"attempts\":1,\
             \"proofs\":[],\"user_agent\":\"curl/8\"}\n"
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
        let template = "$uri $host $request_id $http_user_agent";
        let template = AccessFormat::parse(template).unwrap();
        for format in [AccessFormat::text(), template, AccessFormat::Json] {
            let line = of(&format, &all);
            assert_eq!(line.matches('\n').count(), 1);
            assert!(line.trim_end().chars().all(|c| !c.is_control() && c != '\u{202e}'), "{line}");
        }
        assert_eq!(
            clean(hostile, 100, true),
            "a\\x0d\\x0ab\\x1b[2J\\x22\\x5c\\u{9b}\\u{202e}é\\x7f"
        );
    }

    #[test]
    fn what_a_client_sent_is_cut() {
        let long = Access {
            target: "/".repeat(100_000),
            user_agent: Some("\n".repeat(100_000)),
            ..access()
        };
        assert!(of(&AccessFormat::text(), &long).len() < 2_000);
        assert!(of(&AccessFormat::Json, &long).len() < 2_500);
    }
}
