//! Lists of networks, read from bytes.

use std::net::IpAddr;

use io_tokio::networks::Networks;

/// Reads `bytes` as a list of networks.
///
/// # Panics
///
/// What is accepted is another list once it was written, or does not have an address that it
/// names: a find.
pub fn networks(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(list) = text.parse::<Networks>() else { return };
    let written = list.to_string();
    assert_eq!(written.parse().as_ref(), Ok(&list), "{text:?} is {written:?}");
    for network in text.split(',') {
        let base = network.split_once('/').map_or(network, |(base, _)| base).trim();
        let base: IpAddr = base.parse().expect("a network begins with an address");
        assert!(list.contains(base), "{base} is not in {text:?}, which is {written:?}");
    }
}
