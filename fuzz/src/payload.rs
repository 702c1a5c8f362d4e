//! The invoke payload under bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::uri::Authority;
use io_tokio::payload::{CheckedOffer, InvokePayload, Plaintext};
use io_tokio::wire_v1::offer::V1Offer;

/// Reads `bytes` as an invoke payload, and checks the offer in it.
///
/// # Panics
///
/// What is accepted cannot be written and read again, its offer names nobody who could be dialled,
/// or an error is not fit for a line of the log: a find.
pub fn payload(bytes: &[u8]) {
    let payload = match InvokePayload::from_json(bytes) {
        Ok(payload) => payload,
        Err(error) => return fits_a_line(&error.to_string()),
    };
    let json = payload.to_json();
    let again = InvokePayload::from_json(&json).expect("what was written can be read");
    assert_eq!(again.to_json(), json, "a payload is written in one way");
    for plaintext in [Plaintext::Refused, Plaintext::Allowed] {
        match payload.offer(now(), plaintext) {
            Ok(offer) => can_be_dialled(&offer, plaintext),
            Err(error) => fits_a_line(&error.to_string()),
        }
    }
    match payload.v1_offer(now()) {
        Ok(V1Offer { host, port, .. }) => is_an_authority(&host, port),
        Err(error) => fits_a_line(&error.to_string()),
    }
}

fn can_be_dialled(offer: &CheckedOffer, plaintext: Plaintext) {
    let CheckedOffer { host, port, pins, .. } = offer;
    is_an_authority(host, *port);
    match pins {
        Some(pins) => assert!(!pins.is_empty(), "TLS with whomever"),
        None => assert_eq!(plaintext, Plaintext::Allowed, "{host} without TLS"),
    }
}

fn is_an_authority(host: &str, port: u16) {
    assert!(port != 0, "port 0 of {host:?}");
    let address = host.contains(':');
    let text = if address { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let authority = text.parse::<Authority>();
    let named = authority.as_ref().map(|named| (named.host(), named.port_u16()));
    let host = if address { format!("[{host}]") } else { host.to_owned() };
    assert_eq!(named.ok(), Some((host.as_str(), Some(port))), "what is dialled is {text:?}");
}

fn fits_a_line(error: &str) {
    assert!(!error.contains(char::is_control), "control characters in {error:?}");
}

/// In the middle of what a payload may say.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_795_422_528_000)
}
