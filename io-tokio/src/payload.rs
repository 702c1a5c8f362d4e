//! The invoke payload: what the router tells an instance through AWS.
//!
//! It is a JSON object with PascalCase names. Six fields are those of the original project, so that
//! its extension can still read what our router sends and the reverse; `V2` is ours:
//!
//! ```json
//! {
//!   "PoolId": "default",
//!   "Id": "i-6f1c…",                       // this instance; ASCII letters, digits, - and _
//!   "DispatcherUrl": "https://10.0.0.1:5004/api/chunked",
//!   "NumberOfChannels": 10,                // slots
//!   "SentTime": "2026-11-23T08:28:48.000Z",
//!   "InitOnly": false,                     // true: start the app and return, do not attach
//!   "V2": {
//!     "Url": "https://10.0.0.1:5004",      // where to attach; http only where allowed
//!     "Token": "64 hex digits",            // proves to the router that this is the instance
//!     "Pins": ["64 hex digits"],           // SHA-256 of the router's certificate: current, next
//!     "ExpiresAtMs": 1795422588000         // epoch; an older payload is a replay
//!   }
//! }
//! ```
//!
//! The payload is the root of trust of the whole link, since it comes over AWS's own authenticated
//! channel. It is therefore checked as a whole before anything is dialled
//! ([`InvokePayload::offer`]), and its token is never printed.

use std::net::Ipv6Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::hex;
use crate::rfc3339;
pub use crate::secret::Secret;

/// What the router sends with an invoke.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InvokePayload {
    /// The pool that the instance is for; absent means `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_id: Option<String>,
    /// The instance: 1 to 64 ASCII letters, digits, `-` and `_`.
    pub id: String,
    /// Where the original's extension calls back.
    pub dispatcher_url: String,
    /// How many requests the instance runs at a time.
    pub number_of_channels: u8,
    /// When the router sent this, in RFC 3339.
    pub sent_time: String,
    /// Only start the app, do not attach.
    #[serde(default)]
    pub init_only: bool,
    /// How to attach; absent if the router speaks only the original's wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v2: Option<AttachOffer>,
}

/// How to attach to the router, as it is written in a payload.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttachOffer {
    /// `https://host:port`, or `http://host:port` where plaintext is allowed.
    pub url: String,
    /// Proves to the router that the attaching instance is the one it invoked.
    pub token: Secret,
    /// The SHA-256 of the router's certificate, now and after the next rotation, in hex.
    #[serde(default)]
    pub pins: Vec<String>,
    /// When the offer ends, in milliseconds since 1970.
    pub expires_at_ms: u64,
}

/// An [`AttachOffer`] that has been checked.
#[derive(Clone, Debug)]
pub struct CheckedOffer {
    /// The router's name or address; IPv6 without brackets.
    pub host: String,
    /// The router's port.
    pub port: u16,
    /// The certificates to accept; `None` is plaintext.
    pub pins: Option<Vec<[u8; 32]>>,
    /// The token to attach with.
    pub token: Secret,
}

/// Whether a router may be reached without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plaintext {
    /// On a developer's machine and in simulation.
    Allowed,
    /// Everywhere else.
    Refused,
}

impl InvokePayload {
    /// A payload for an instance that serves with `slots` slots.
    #[must_use]
    pub fn serve(pool: &str, id: String, slots: u8, offer: AttachOffer, now: SystemTime) -> Self {
        Self {
            pool_id: Some(pool.to_owned()),
            id,
            dispatcher_url: format!("{}/api/chunked", offer.url),
            number_of_channels: slots,
            sent_time: rfc3339::format(now),
            init_only: false,
            v2: Some(offer),
        }
    }

    /// The payload as it is sent.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always serialise")
    }

    /// Reads a payload and checks what every kind of invoke needs: its shape and its id.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Json`] and [`PayloadError::Id`].
    pub fn from_json(json: &[u8]) -> Result<Self, PayloadError> {
        let payload: Self = serde_json::from_slice(json).map_err(PayloadError::Json)?;
        let id_is_plain = (1..=ID_LENGTH_MAX).contains(&payload.id.len())
            && payload.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !id_is_plain {
            return Err(PayloadError::Id(shortened(&payload.id)));
        }
        Ok(payload)
    }

    /// Checks how to attach.
    ///
    /// # Errors
    ///
    /// Each way in which the offer is absent, wrong, out of date or not allowed here.
    pub fn offer(
        &self,
        now: SystemTime,
        plaintext: Plaintext,
    ) -> Result<CheckedOffer, PayloadError> {
        let offer = self.v2.as_ref().ok_or(PayloadError::NoOffer)?;
        let expires_at = UNIX_EPOCH.checked_add(Duration::from_millis(offer.expires_at_ms));
        if expires_at.is_some_and(|at| at + CLOCK_SKEW_MAX < now) {
            return Err(PayloadError::Expired { expires_at_ms: offer.expires_at_ms });
        }
        let sent = rfc3339::parse(&self.sent_time);
        // Else the end of a forged or misdated offer could be as far away as it likes.
        if sent.is_some_and(|sent| sent > now + CLOCK_SKEW_MAX) {
            return Err(PayloadError::Ahead(shortened(&self.sent_time)));
        }
        // Of the time of sending only whole seconds are read.
        let lasts = OFFER_LASTS_MAX + Duration::from_secs(1);
        let last = sent.and_then(|sent| sent.checked_add(lasts));
        if expires_at.is_none() || last.is_none_or(|last| expires_at > Some(last)) {
            return Err(PayloadError::Lasting { expires_at_ms: offer.expires_at_ms });
        }
        let bad_url = || PayloadError::Url(shortened(&offer.url));
        let uri: http::Uri = offer.url.parse().map_err(|_| bad_url())?;
        let path_is_empty = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let authority = uri.authority().ok_or_else(bad_url)?;
        let (Some(port), true, false) =
            (authority.port_u16(), path_is_empty, authority.as_str().contains('@'))
        else {
            return Err(bad_url());
        };
        let host = host(authority.host()).filter(|_| port != 0).ok_or_else(bad_url)?;
        let pins = match uri.scheme_str() {
            Some("https") => Some(pins(&offer.pins)?),
            Some("http") if plaintext == Plaintext::Allowed => None,
            Some("http") => return Err(PayloadError::Plaintext(shortened(&offer.url))),
            _ => return Err(bad_url()),
        };
        Ok(CheckedOffer { host: host.to_owned(), port, pins, token: offer.token.clone() })
    }
}

/// A name, or an address without its brackets: what can be dialled. A URI may say more.
pub(crate) fn host(text: &str) -> Option<&str> {
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|six| six.parse::<Ipv6Addr>().is_ok()),
        None => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            (!text.is_empty() && text.bytes().all(plain)).then_some(text)
        }
    }
}

fn pins(texts: &[String]) -> Result<Vec<[u8; 32]>, PayloadError> {
    if texts.is_empty() {
        return Err(PayloadError::Pins("none is given".to_owned()));
    }
    let pin = |text: &String| {
        hex::decode(text.as_bytes())
            .ok_or_else(|| PayloadError::Pins(format!("`{}` is not", shortened(text))))
    };
    texts.iter().map(pin).collect()
}

/// What a peer wrote, cut to a length that is fit for a log line.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_default).collect()
}

/// Why a payload cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The offer was sent in the future.
    #[error(
        "the invoke payload's SentTime is `{0}`, must be at most 5 min from now: a clock is wrong, \
         the router's or this one"
    )]
    Ahead(String),
    /// An address of the original's router that cannot be dialled.
    #[error("the invoke payload's DispatcherUrl is `{0}`, must be http(s)://host:port/path")]
    DispatcherUrl(String),
    /// The offer has ended: the invoke was delivered late, or is a replay.
    #[error(
        "the invoke payload expired at {expires_at_ms} ms since 1970, more than 5 min ago; \
         it is a replay, or a clock is wrong"
    )]
    Expired {
        /// When the offer ended, in milliseconds since 1970.
        expires_at_ms: u64,
    },
    /// The offer lasts longer than a router lets one last.
    #[error(
        "the invoke payload expires at {expires_at_ms} ms since 1970, must be at most 60 s after \
         its SentTime"
    )]
    Lasting {
        /// When the offer ends, in milliseconds since 1970.
        expires_at_ms: u64,
    },
    /// The instance's id is not fit to be sent in a header.
    #[error(
        "the invoke payload's Id is `{0}`, must be 1 to 64 ASCII letters, digits, dashes and \
         underscores"
    )]
    Id(String),
    /// Not JSON, or not of this shape.
    #[error(
        "the event is not an invoke payload of lambda-dispatch: {0}; \
         only the router may invoke this function"
    )]
    Json(#[source] serde_json::Error),
    /// The router speaks only the original's wire.
    #[error(
        "the invoke payload has no V2 field: its router speaks only the original's wire; use a \
         lambda-dispatch router of this version, or set LAMBDA_DISPATCH_WIRE_V1=true to speak that \
         wire, on which neither side can tell who the other is"
    )]
    NoOffer,
    /// No certificate, or none that can be compared.
    #[error("the invoke payload's Pins must each be a SHA-256 in 64 hexadecimal digits: {0}")]
    Pins(String),
    /// No TLS, where TLS is demanded.
    #[error(
        "the router offers `{0}` without TLS; use https, or set \
         LAMBDA_DISPATCH_ALLOW_INSECURE=true on a developer's machine"
    )]
    Plaintext(String),
    /// A pool that does not fit a header.
    #[error("the invoke payload's PoolId is `{0}`, must be visible ASCII")]
    Pool(String),
    /// Not a time.
    #[error("the invoke payload's SentTime is `{0}`, must be a time as in RFC 3339")]
    SentTime(String),
    /// An address that cannot be dialled.
    #[error("the invoke payload's Url is `{0}`, must be https://host:port without a path")]
    Url(String),
}

/// Longest time from the sending of an offer to its end: an instance that starts later is not
/// wanted any more, for its start has timed out.
pub const OFFER_LASTS_MAX: Duration = Duration::from_secs(60);

const ID_LENGTH_MAX: usize = 64;

/// How far the router's clock may be off.
pub(crate) const CLOCK_SKEW_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_795_422_528_000;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(NOW_MS)
    }

    fn offering(url: &str) -> AttachOffer {
        AttachOffer {
            url: url.to_owned(),
            token: Secret::from_bytes([0xab; 32]),
            pins: vec!["cd".repeat(32)],
            expires_at_ms: NOW_MS + 60_000,
        }
    }

    fn payload(offer: AttachOffer) -> InvokePayload {
        InvokePayload::serve("default", "i-1".to_owned(), 10, offer, now())
    }

    #[test]
    fn a_payload_keeps_the_six_names_of_the_original() {
        let sent = payload(offering("https://10.0.0.1:5004"));
        let json: serde_json::Value = serde_json::from_slice(&sent.to_json()).unwrap();
        assert_eq!(json["PoolId"], "default");
        assert_eq!(json["Id"], "i-1");
        assert_eq!(json["DispatcherUrl"], "https://10.0.0.1:5004/api/chunked");
        assert_eq!(json["NumberOfChannels"], 10);
        assert_eq!(json["SentTime"], "2026-11-23T08:28:48.000Z");
        assert_eq!(json["InitOnly"], false);
        assert_eq!(json["V2"]["ExpiresAtMs"], NOW_MS + 60_000);
    }

    #[test]
    fn what_was_sent_is_what_is_read() {
        let sent = payload(offering("https://10.0.0.1:5004"));
        let read = InvokePayload::from_json(&sent.to_json()).unwrap();
        let offer = read.offer(now(), Plaintext::Refused).unwrap();
        assert_eq!((offer.host.as_str(), offer.port), ("10.0.0.1", 5004));
        assert_eq!(offer.pins, Some(vec![[0xcd; 32]]));
        assert_eq!(offer.token.as_bytes(), &[0xab; 32]);
    }

    #[test]
    fn a_token_is_never_printed() {
        let printed = format!("{:?}", payload(offering("https://10.0.0.1:5004")));
        assert!(!printed.contains("abab"), "{printed}");
    }

    #[test]
    fn the_originals_payload_is_understood_but_offers_nothing() {
        let json = br#"{"PoolId":null,"Id":"6a8c2f0e-1","DispatcherUrl":"http://10.0.0.1:5003/api/chunked",
            "NumberOfChannels":20,"SentTime":"2026-11-23T08:28:48.1234567+00:00","Unknown":[1]}"#;
        let read = InvokePayload::from_json(json).unwrap();
        assert!(!read.init_only);
        let error = read.offer(now(), Plaintext::Allowed).unwrap_err();
        assert!(matches!(error, PayloadError::NoOffer));
        assert!(error.to_string().contains("LAMBDA_DISPATCH_WIRE_V1=true"), "{error}");
    }

    #[test]
    fn plaintext_is_refused_unless_it_is_allowed() {
        let read = payload(offering("http://127.0.0.1:5003"));
        let error = read.offer(now(), Plaintext::Refused).unwrap_err();
        assert!(error.to_string().contains("LAMBDA_DISPATCH_ALLOW_INSECURE"), "{error}");
        assert_eq!(read.offer(now(), Plaintext::Allowed).unwrap().pins, None);
    }

    #[test]
    fn addresses_that_cannot_be_dialled_are_refused() {
        for url in [
            "",
            "https://10.0.0.1",
            "https://:5004",
            "https://10.0.0.1:0",
            "https://10.0.0.1:99999",
            "https://10.0.0.1:5004/path",
            "https://10.0.0.1:5004?q",
            "https://user@10.0.0.1:5004",
            "ftp://10.0.0.1:5004",
            "10.0.0.1:5004",
            "https://[10.0.0.1]:5004",
            "https://f[0%d::1]:5004",
            "https://a%20b:5004",
        ] {
            let error = payload(offering(url)).offer(now(), Plaintext::Allowed).unwrap_err();
            assert!(matches!(error, PayloadError::Url(_)), "{url}: {error}");
        }
        let six = payload(offering("https://[fd00::1]:5004")).offer(now(), Plaintext::Refused);
        assert_eq!(six.unwrap().host, "fd00::1");
    }

    #[test]
    fn an_offer_ends_five_minutes_after_it_expires() {
        let read = payload(offering("https://10.0.0.1:5004"));
        let at = |seconds| read.offer(now() + Duration::from_secs(seconds), Plaintext::Refused);
        assert!(at(359).is_ok());
        assert!(matches!(at(361).unwrap_err(), PayloadError::Expired { .. }));
    }

    #[test]
    fn an_offer_does_not_last_longer_than_a_router_lets_it() {
        for expires_at_ms in [NOW_MS + 61_001, NOW_MS + 86_400_000, u64::MAX] {
            let offer = AttachOffer { expires_at_ms, ..offering("https://10.0.0.1:5004") };
            let error = payload(offer).offer(now(), Plaintext::Refused).unwrap_err();
            assert!(matches!(error, PayloadError::Lasting { .. }), "{error}");
        }
        let mut timeless = payload(offering("https://10.0.0.1:5004"));
        timeless.sent_time = "yesterday".to_owned();
        let error = timeless.offer(now(), Plaintext::Refused).unwrap_err();
        assert!(matches!(error, PayloadError::Lasting { .. }), "{error}");
    }

    #[test]
    fn an_offer_from_the_future_is_refused() {
        let at = |seconds| {
            let sent = now() + Duration::from_secs(seconds);
            let expires_at_ms = NOW_MS + seconds * 1_000 + 60_000;
            let offer = AttachOffer { expires_at_ms, ..offering("https://10.0.0.1:5004") };
            InvokePayload::serve("default", "i-1".to_owned(), 10, offer, sent)
                .offer(now(), Plaintext::Refused)
        };
        assert!(at(300).is_ok());
        for seconds in [301, 86_400, 10 * 365 * 86_400] {
            let error = at(seconds).unwrap_err();
            assert!(matches!(error, PayloadError::Ahead(_)), "{error}");
            assert!(error.to_string().contains("a clock is wrong"), "{error}");
        }
    }

    #[test]
    fn wrong_pins_are_refused() {
        for pins in [vec![], vec!["cd".repeat(31)], vec!["cd".repeat(32), "x".to_owned()]] {
            let offer = AttachOffer { pins, ..offering("https://10.0.0.1:5004") };
            let error = payload(offer).offer(now(), Plaintext::Refused).unwrap_err();
            assert!(matches!(error, PayloadError::Pins(_)), "{error}");
        }
    }

    #[test]
    fn an_event_of_somebody_else_is_refused_with_a_hint() {
        for event in ["", "{}", "[]", r#"{"Records":[]}"#] {
            let error = InvokePayload::from_json(event.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("only the router"), "{error}");
        }
    }

    #[test]
    fn an_id_that_does_not_fit_a_header_is_refused() {
        for id in ["", "a.b", "a b", "a\r\nb", &"x".repeat(65)] {
            let mut sent = payload(offering("https://10.0.0.1:5004"));
            sent.id = id.to_owned();
            let error = InvokePayload::from_json(&sent.to_json()).unwrap_err();
            assert!(matches!(error, PayloadError::Id(_)), "{error}");
        }
    }
}
