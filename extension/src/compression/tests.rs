//! Who gets what, as tables; and that it can be read again.

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use http_body_util::{BodyExt, Full};
use tokio::io::AsyncReadExt;

use super::*;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| {
            (header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        })
        .collect()
}

fn wish(accept: &str) -> Wish {
    Wish::of(&Method::GET, &headers(&[("accept-encoding", accept)]))
}

#[test]
fn the_client_gets_the_coding_that_it_likes_best() {
    let table: &[(&str, Option<Coding>)] = &[
        ("gzip", Some(Coding::Gzip)),
        ("x-gzip", Some(Coding::Gzip)),
        ("GZIP;Q=0.5", Some(Coding::Gzip)),
        ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
        ("gzip, deflate, br", Some(Coding::Brotli)),
        ("gzip;q=1.0, br;q=0.9", Some(Coding::Gzip)),
        ("gzip;q=0.501, br;q=0.5", Some(Coding::Gzip)),
        ("gzip;q=0", None),
        ("gzip;q=0.000, *;q=0", None),
        ("*", Some(Coding::Zstd)),
        ("zstd;q=0, *", Some(Coding::Brotli)),
        ("*;q=0", None),
        ("identity", None),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.5", Some(Coding::Gzip)),
        ("deflate, compress", None),
        ("", None),
        // Nothing is guessed from what cannot be read.
        ("gzip;q=2", None),
        ("gzip;q=high", None),
        ("gzip;q", None),
        ("gzip;q=0.0001", None),
        ("notgzip", None),
    ];
    for (accept, expected) in table {
        assert_eq!(wish(accept).coding, *expected, "{accept}");
    }
    let twice = headers(&[("accept-encoding", "br;q=0.1"), ("accept-encoding", "gzip")]);
    assert_eq!(Wish::of(&Method::GET, &twice).coding, Some(Coding::Gzip));
}

#[test]
fn only_answers_that_may_be_touched_are_compressed() {
    let json = ("content-type", "application/json");
    type Row<'a> = (&'a str, u16, &'a [(&'static str, &'a str)], Option<u64>, bool);
    let table: &[Row<'_>] = &[
        ("json", 200, &[json], Some(5000), true),
        ("an error page", 500, &[("content-type", "text/html; charset=utf-8")], Some(5000), true),
        ("a stream", 200, &[json], None, true),
        ("small", 200, &[json], Some(1023), false),
        ("just not small", 200, &[json], Some(1024), true),
        ("no content", 204, &[json], None, false),
        ("partial", 206, &[json], Some(5000), false),
        ("not modified", 304, &[json], None, false),
        ("a redirect", 302, &[json], Some(5000), false),
        ("encoded", 200, &[json, ("content-encoding", "br")], Some(5000), false),
        ("a range", 200, &[json, ("content-range", "bytes 0-9/10")], Some(5000), false),
        ("no-transform", 200, &[json, ("cache-control", "no-cache, No-Transform")], None, false),
        ("digest", 200, &[json, ("content-digest", "sha-256=:x:")], None, false),
        ("digest of all", 200, &[json, ("repr-digest", "sha-256=:x:")], None, false),
        ("an image", 200, &[("content-type", "image/png")], Some(5000), false),
        ("svg", 200, &[("content-type", "image/svg+xml")], Some(5000), true),
        ("wasm", 200, &[("content-type", "application/wasm")], Some(5000), true),
        ("a feed", 200, &[("content-type", "application/atom+xml")], Some(5000), true),
        ("a problem", 400, &[("content-type", "application/problem+json")], Some(5000), true),
        ("events", 200, &[("content-type", "text/event-stream; charset=utf-8")], None, false),
        ("grpc", 200, &[("content-type", "application/grpc")], None, false),
        ("no type", 200, &[], Some(5000), false),
    ];
    for (what, status, lines, length, expected) in table {
        let status = StatusCode::from_u16(*status).unwrap();
        let plan = Plan::new(wish("gzip"), status, &headers(lines), *length);
        assert_eq!(plan.coding().is_some(), *expected, "{what}");
        let plan = Plan::new(wish("identity"), status, &headers(lines), *length);
        assert_eq!((plan.coding(), plan.vary), (None, *expected), "{what}");
    }
}

#[test]
fn answers_to_some_requests_are_not_touched() {
    let accept = ("accept-encoding", "gzip");
    for (method, lines) in [
        (Method::HEAD, vec![accept]),
        (Method::GET, vec![accept, ("range", "bytes=0-9")]),
        (Method::GET, vec![accept, ("cache-control", "no-transform")]),
    ] {
        let wish = Wish::of(&method, &headers(&lines));
        let json = headers(&[("content-type", "application/json")]);
        let plan = Plan::new(wish, StatusCode::OK, &json, None);
        assert_eq!(plan, Plan { coding: None, vary: false });
    }
}

#[test]
fn headers_tell_caches_and_clients_what_was_done() {
    let before = headers(&[
        ("content-type", "text/css"),
        ("content-length", "5000"),
        ("etag", "\"abc\""),
        ("accept-ranges", "bytes"),
        ("vary", "Origin"),
        ("x-last", "1"),
    ]);
    let lines = |map: &HeaderMap| -> Vec<String> {
        map.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    };
    let plan = Plan::new(wish("br"), StatusCode::OK, &before, Some(5000));
    assert_eq!(
        lines(&plan.headers(before.clone())),
        [
            "content-type: text/css",
            "etag: W/\"abc\"",
            "vary: Origin",
            "vary: Accept-Encoding",
            "x-last: 1",
            "content-encoding: br",
        ]
    );
    let plan = Plan::new(wish("identity"), StatusCode::OK, &before, Some(5000));
    let sent = plan.headers(before.clone());
    assert_eq!(sent.get_all("vary").iter().count(), 2);
    assert_eq!((sent["etag"].as_bytes(), sent.len()), (&b"\"abc\""[..], before.len() + 1));

    let weak = headers(&[
        ("content-type", "text/css"),
        ("etag", "W/\"abc\""),
        ("vary", "Origin, accept-encoding"),
    ]);
    let plan = Plan::new(wish("gzip"), StatusCode::OK, &weak, None);
    let sent = plan.headers(weak);
    assert_eq!(
        (sent["etag"].as_bytes(), sent.get_all("vary").iter().count()),
        (&b"W/\"abc\""[..], 1)
    );
}

#[tokio::test]
async fn what_is_compressed_can_be_read_again() {
    let text: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    for coding in Coding::ALL {
        let body = Full::new(Bytes::from(text.clone()));
        let coded = Compressed::new(body, coding).collect().await.unwrap().to_bytes();
        assert!(coded.len() < text.len(), "{coding:?} makes it larger");
        assert!(decode(coding, &coded).await == text, "{coding:?} changes it");
    }
}

#[tokio::test]
async fn each_chunk_can_be_read_before_the_next_is_made() {
    for coding in Coding::ALL {
        let mut encoder = Encoder::new(coding);
        let mut so_far = encoder.encode(b"first").unwrap().to_vec();
        let mut read = [0; 5];
        let mut decoder = decoder(coding, &so_far);
        decoder.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"first", "{coding:?}");
        drop(decoder);
        so_far.extend(encoder.encode(b", second").unwrap());
        so_far.extend(encoder.finish().unwrap());
        assert_eq!(decode(coding, &so_far).await, b"first, second");
    }
}

#[tokio::test]
async fn trailers_and_cuts_pass_through() {
    let trailers = headers(&[("x-sum", "1")]);
    let body = Full::new(Bytes::from_static(b"data"))
        .with_trailers(std::future::ready(Some(Ok(trailers))));
    let collected = Compressed::new(Box::pin(body), Coding::Gzip).collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "1");
    assert_eq!(decode(Coding::Gzip, &collected.to_bytes()).await, b"data");
}

async fn decode(coding: Coding, coded: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    decoder(coding, coded).read_to_end(&mut text).await.unwrap();
    text
}

fn decoder(coding: Coding, coded: &[u8]) -> Box<dyn tokio::io::AsyncRead + Unpin + '_> {
    match coding {
        Coding::Zstd => Box::new(ZstdDecoder::new(coded)),
        Coding::Brotli => Box::new(BrotliDecoder::new(coded)),
        Coding::Gzip => Box::new(GzipDecoder::new(coded)),
    }
}
