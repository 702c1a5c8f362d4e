//! What a template of the access log can say, by the names that nginx has where it has them.
//!
//! Text that came from a client is cut and made harmless; see [`Value::of_client`].

use std::cell::RefCell;
use std::fmt::{Display, Write as _};
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use io_tokio::observe::Access;
use io_tokio::rfc3339;

use super::line::{NAME_MAX, PATH_MAX, clean, version};

/// One thing that can be said of an exchange.
#[derive(Debug)]
pub struct Field {
    /// What it is called, behind the `$`.
    pub name: &'static str,
    /// What it says.
    pub about: &'static str,
    pub(super) write: fn(&Access, &mut Value<'_>),
}

/// Where a field's value is written to.
pub(super) struct Value<'a> {
    pub(super) line: &'a mut String,
    /// Between quotes a blank belongs to the value; outside it would end it.
    pub(super) is_quoted: bool,
}

impl Value<'_> {
    /// What a client sent: at most `len_max` bytes, and nothing that could end the value or the
    /// line. `-` for nothing, as every log format has it.
    fn of_client(&mut self, text: &str, len_max: usize) {
        let text = if text.is_empty() { "-" } else { text };
        self.line.push_str(&clean(text, len_max, self.is_quoted));
    }

    /// What nobody but us has a say in.
    fn ours(&mut self, text: &str) {
        self.line.push_str(text);
    }

    /// The same by a formatter, which takes longer than to write what it makes: numbers and times,
    /// of which every line is full, do without.
    fn shown(&mut self, value: impl Display) {
        // Writing to memory does not fail.
        write!(self.line, "{value}").ok();
    }

    fn number(&mut self, number: impl itoa::Integer) {
        self.line.push_str(itoa::Buffer::new().format(number));
    }

    fn address(&mut self, address: IpAddr) {
        let IpAddr::V4(address) = address else { return self.shown(address) };
        for (place, octet) in address.octets().into_iter().enumerate() {
            if place > 0 {
                self.line.push('.');
            }
            self.number(octet);
        }
    }

    /// With six digits behind the point.
    fn seconds(&mut self, time: Option<Duration>) {
        let Some(time) = time else { return self.line.push('-') };
        self.number(time.as_secs());
        // The digit before them keeps the zeros.
        let micros = 1_000_000 + time.subsec_micros();
        self.line.push('.');
        self.line.push_str(&itoa::Buffer::new().format(micros)[1..]);
    }

    /// `23/Nov/2026:08:29:12 +0000`, which is made anew only once a second.
    fn common_log_time(&mut self, time: SystemTime) {
        thread_local! {
            static LATEST: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
        }
        let second = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        LATEST.with_borrow_mut(|(at, text)| {
            if *at != second || text.is_empty() {
                (*at, *text) = (second, common_log_time(&rfc3339::format(time)));
            }
            self.line.push_str(text);
        });
    }
}

/// Every field there is.
pub const FIELDS: &[Field] = &[
    field(
        "remote_addr",
        "address of the client: what proxies in `listen.trusted_proxies` say is believed",
        |it, to| to.address(it.client),
    ),
    field("realip_remote_addr", "address that its connection comes from", |it, to| {
        to.address(it.peer);
    }),
    field("remote_user", "always `-`: credentials are kept from logs", |_, to| to.ours("-")),
    field("time_local", "when its head was complete: `23/Nov/2026:08:29:12 +0000`", |it, to| {
        to.common_log_time(it.started);
    }),
    field("time_iso8601", "the same: `2026-11-23T08:29:12.123Z`", |it, to| {
        to.ours(&rfc3339::format(it.started));
    }),
    field("msec", "the same in seconds since 1970, with milliseconds", |it, to| {
        let since = it.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        to.shown(format_args!("{}.{:03}", since.as_secs(), since.subsec_millis()));
    }),
    field("request", "method, path and version: `GET /shop HTTP/1.1`", |it, to| {
        to.of_client(it.method.as_str(), NAME_MAX);
        to.of_client(" ", 1);
        to.of_client(&it.target, PATH_MAX);
        to.of_client(" ", 1);
        to.ours(version(it.version));
    }),
    field("request_method", "the method", |it, to| to.of_client(it.method.as_str(), NAME_MAX)),
    field("uri", "the path as it was sent, without the query", |it, to| {
        to.of_client(&it.target, PATH_MAX);
    }),
    field("server_protocol", "`HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`", |it, to| {
        to.ours(version(it.version));
    }),
    field("host", "whom the request was for", |it, to| to.of_client(&it.host, NAME_MAX)),
    field("status", "the status; 499 if the client left before there was one", |it, to| {
        to.number(it.status);
    }),
    field("reason", "how it ended, in one word: `served`, `queue_timeout`, …", |it, to| {
        to.ours(it.reason);
    }),
    field("bytes_in", "bytes of the request's body", |it, to| to.number(it.bytes_in)),
    field("body_bytes_sent", "bytes of the response's body", |it, to| to.number(it.bytes_out)),
    field("pool", "the pool that its route leads to", |it, to| {
        to.ours(it.pool.as_deref().unwrap_or("-"));
    }),
    field("queue_time", "seconds that it waited for a slot", |it, to| to.seconds(Some(it.queue))),
    field(
        "handover_time",
        "seconds from its dispatch until its instance had its head",
        |it, to| {
            to.seconds(it.handover);
        },
    ),
    field("app_time", "seconds from there to the head of the app's response", |it, to| {
        to.seconds(it.app);
    }),
    field("slot_time", "seconds for which it held a slot", |it, to| to.seconds(it.slot)),
    field("first_byte_time", "seconds from its head to the response's", |it, to| {
        to.seconds(it.first_byte);
    }),
    field("request_time", "seconds from its head to the end of the response", |it, to| {
        to.seconds(Some(it.total));
    }),
    field("instance", "the instance that had it last, as the log names it", |it, to| {
        match &it.instance {
            Some(instance) => to.shown(instance),
            None => to.ours("-"),
        }
    }),
    field("cold_exposed", "1 if it waited as long as a cold start takes, else 0", |it, to| {
        to.number(u8::from(it.cold_exposed));
    }),
    field("attempts", "how often it was given to an instance", |it, to| to.number(it.attempts)),
    field("proofs", "why it was given to another one, each time: `refused,goaway`", |it, to| {
        if it.proofs.is_empty() {
            to.ours("-");
        }
        for (place, proof) in it.proofs.iter().enumerate() {
            to.ours(if place == 0 { "" } else { "," });
            to.ours(proof.name());
        }
    }),
    field("request_id", "its id, as the log lines of router and extension have it", |it, to| {
        to.of_client(&it.request_id, NAME_MAX);
    }),
    field("http_referer", "always `-`: it may hold what a query holds", |_, to| to.ours("-")),
    field("http_user_agent", "the client's `User-Agent`", |it, to| {
        to.of_client(it.user_agent.as_deref().unwrap_or_default(), NAME_MAX);
    }),
];

const fn field(
    name: &'static str,
    about: &'static str,
    write: fn(&Access, &mut Value<'_>),
) -> Field {
    Field { name, about, write }
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
