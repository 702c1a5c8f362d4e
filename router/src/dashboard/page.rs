//! The page itself: one file to the browser, which needs nothing from anywhere else.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::HeaderValue;
use ring::digest::{SHA256, digest};

/// The whole page.
pub(crate) fn page() -> Bytes {
    static PAGE: LazyLock<Bytes> = LazyLock::new(|| {
        HTML.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT).into_bytes().into()
    });
    PAGE.clone()
}

/// Lets in this style and this script by their hashes, and events from where the page is from.
pub(crate) fn policy() -> HeaderValue {
    static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
        let (style, script) = (hash(STYLE), hash(SCRIPT));
        let policy = format!(
            "default-src 'none'; style-src '{style}'; script-src '{script}'; \
             connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        HeaderValue::try_from(policy).expect("it is plain ASCII")
    });
    POLICY.clone()
}

/// As a policy names a text.
pub(super) fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64.encode(digest(&SHA256, text.as_bytes())))
}

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_names_nothing_outside_of_it() {
        let page = String::from_utf8(page().to_vec()).unwrap();
        // The name of a kind of element, which nobody asks a network for.
        let page = page.replacen("http://www.w3.org/2000/svg", "", 1);
        assert!(page.contains(STYLE) && !page.contains("/*s"));
        for outside in ["http:", "https:", "//cdn", "src=", "@import", "url(", "style=\""] {
            let place = page.find(outside).map(|at| &page[at..page.len().min(at + 60)]);
            assert_eq!(place, None);
        }
        assert!(page.len() < 64 << 10, "{} bytes", page.len());
    }
}
