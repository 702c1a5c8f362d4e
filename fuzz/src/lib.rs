//! What fuzzers play: bytes that become legal inputs of the two machines, and bytes as they come
//! for whatever reads bytes from outside.
//!
//! The machines' targets decode positionally: a head chooses the limits, every few bytes after it
//! are one step, and each byte always means the same, so that a fuzzer that changes one byte
//! changes one thing. Whatever the bytes, the inputs are legal: a step that makes no sense where it
//! stands does nothing. Inputs about what has ended are legal too, and are sent. The readers'
//! targets hand the bytes on, and check that what is accepted means what was written; `at_once`
//! plays those that are async without a runtime.
//!
//! | target | what must hold |
//! |---|---|
//! | `dispatcher` | the router's machine: its invariants and its contract |
//! | `lifecycle` | the extension's machine: no link outlives an invoke, nothing runs while frozen |
//! | `pair` | one dispatcher and some lifecycles: each request ends once, and all of it drains |
//! | `attach` | the handshake on a fresh connection, read by either side |
//! | `framing` | the bytes of a client's HTTP/1 connection: where its messages end |
//! | `headers` | a client's request head, made fit to be passed on |
//! | `http2` | an HTTP/2 link, either side of it, whatever the other side and its own handles do |
//! | `importers` | access logs and other recordings of traffic |
//! | `payload` | the invoke payload, and the offer in it |
//! | `recording` | what the flight recorder has written |
//! | `networks`, `plan`, `rfc3339`, `settings` | texts that people and other programs write |
//! | `wire_v1` | heads on the original's wire, read and written again |
//!
//! `fuzz/run 60` plays each for a minute; `cargo test -p fuzz` replays `corpora/` and some chance.
//! A new target is a function, a line in [`TARGETS`], a file in `fuzz_targets/` with its `[[bin]]`
//! in the manifest, and a folder in `corpora/`; a test says which of them is missing.

mod at_once;
mod attach;
mod dispatcher;
mod framing;
mod headers;
mod http2;
mod importers;
mod lifecycle;
mod networks;
mod pair;
mod payload;
mod plan;
mod recording;
mod rfc3339;
#[cfg(feature = "settings")]
mod settings;
mod wire_v1;

pub use attach::attach;
pub use dispatcher::dispatcher;
pub use framing::framing;
pub use headers::headers;
pub use http2::http2;
pub use importers::importers;
pub use lifecycle::lifecycle;
pub use networks::networks;
pub use pair::pair;
pub use payload::payload;
pub use plan::plan;
pub use recording::recording;
pub use rfc3339::rfc3339;
#[cfg(feature = "settings")]
pub use settings::settings;
pub use wire_v1::wire_v1;

/// Something to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its file in `fuzz_targets/` and of its folder in `corpora/`.
    pub name: &'static str,
    /// Plays bytes; panics on a find.
    pub play: fn(&[u8]),
}

/// Every target. `fuzz/run` reads the names from these very lines, so each keeps its form.
pub const TARGETS: &[Target] = &[
    Target { name: "attach", play: attach },
    Target { name: "dispatcher", play: dispatcher },
    Target { name: "framing", play: framing },
    Target { name: "headers", play: headers },
    Target { name: "http2", play: http2 },
    Target { name: "importers", play: importers },
    Target { name: "lifecycle", play: lifecycle },
    Target { name: "networks", play: networks },
    Target { name: "pair", play: pair },
    Target { name: "payload", play: payload },
    Target { name: "plan", play: plan },
    Target { name: "recording", play: recording },
    Target { name: "rfc3339", play: rfc3339 },
    #[cfg(feature = "settings")]
    Target { name: "settings", play: settings },
    Target { name: "wire_v1", play: wire_v1 },
];
