//! What the original's invoke payload says about where its router is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::payload::{CLOCK_SKEW_MAX, InvokePayload, PayloadError, host, shortened};
use crate::rfc3339;

/// Where to reach a router that speaks only the original's wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Offer {
    /// The router's name or address; IPv6 without brackets.
    pub host: String,
    /// The router's port.
    pub port: u16,
    /// Whether to speak TLS, with whatever certificate.
    pub tls: bool,
    /// The pool that the instance is for.
    pub pool: String,
}

impl InvokePayload {
    /// Checks where to open channels on the original's wire.
    ///
    /// # Errors
    ///
    /// A URL or a time that is wrong, or a payload that is too old.
    pub fn v1_offer(&self, now: SystemTime) -> Result<V1Offer, PayloadError> {
        let sent = rfc3339::parse(&self.sent_time)
            .ok_or_else(|| PayloadError::SentTime(shortened(&self.sent_time)))?;
        let expires_at = sent + V1_OFFER_LASTS;
        if expires_at + CLOCK_SKEW_MAX < now {
            let since = expires_at.duration_since(UNIX_EPOCH).unwrap_or_default();
            let expires_at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            return Err(PayloadError::Expired { expires_at_ms });
        }
        let bad_url = || PayloadError::DispatcherUrl(shortened(&self.dispatcher_url));
        let uri: http::Uri = self.dispatcher_url.parse().map_err(|_| bad_url())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad_url()),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or_else(bad_url)?;
        let no_port = authority.as_str().ends_with(authority.host());
        let port = authority.port_u16().or_else(|| no_port.then_some(if tls { 443 } else { 80 }));
        let port = port.filter(|port| *port != 0).ok_or_else(bad_url)?;
        let host = host(authority.host()).ok_or_else(bad_url)?.to_owned();
        let pool = self.pool_id.as_deref().filter(|pool| !pool.trim().is_empty());
        let pool = pool.unwrap_or("default");
        if !pool.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(PayloadError::Pool(shortened(pool)));
        }
        Ok(V1Offer { host, port, tls, pool: pool.to_owned() })
    }
}

/// The original's payload does not say when it ends: as long as ours.
const V1_OFFER_LASTS: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_795_422_528_000)
    }

    #[test]
    fn the_originals_payload_says_where_to_open_channels() {
        let payload = |url: &str, pool: Option<&str>, sent: &str| {
            let pool = serde_json::to_string(&pool).unwrap();
            let json = format!(
                r#"{{"PoolId":{pool},"Id":"6a8c","DispatcherUrl":"{url}",
                    "NumberOfChannels":20,"SentTime":"{sent}"}}"#
            );
            InvokePayload::from_json(json.as_bytes()).unwrap().v1_offer(now())
        };
        let sent = rfc3339::format(now());
        let offer = payload("http://10.0.0.1:5003/api/chunked", None, &sent).unwrap();
        let (host, pool) = ("10.0.0.1".to_owned(), "default".to_owned());
        assert_eq!(offer, V1Offer { host, port: 5003, tls: false, pool });
        let offer = payload("https://router.local/api/chunked?x", Some("p-1"), &sent).unwrap();
        assert_eq!((offer.port, offer.tls, offer.pool.as_str()), (443, true, "p-1"));
        assert_eq!(payload("http://[fd00::1]/", None, &sent).unwrap().host, "fd00::1");
        for url in ["", "/x", "ftp://a:1/", "http://u@a:1/", "http://a:0/", "http://a:99999/"] {
            let error = payload(url, None, &sent).unwrap_err();
            assert!(matches!(error, PayloadError::DispatcherUrl(_)), "{url}: {error}");
        }
        let error = payload("http://a/", Some("a b"), &sent).unwrap_err();
        assert!(matches!(error, PayloadError::Pool(_)), "{error}");
        let error = payload("http://a/", None, "yesterday").unwrap_err();
        assert!(matches!(error, PayloadError::SentTime(_)), "{error}");
        let old = rfc3339::format(now() - Duration::from_secs(361));
        let error = payload("http://a/", None, &old).unwrap_err();
        assert!(matches!(error, PayloadError::Expired { .. }), "{error}");
    }
}
