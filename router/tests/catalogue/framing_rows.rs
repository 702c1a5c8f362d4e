//! B1 of the catalogue: where a message begins and ends.

use crate::row::Row;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = lengths_and_codings();
    rows.extend(lines());
    rows.extend(chunks());
    rows.extend(what_is_legal());
    rows
}

/// A POST with these header lines and this body.
fn post(lines: &str, body: &str) -> String {
    format!("POST {{t}} HTTP/1.1\r\nHost: test\r\n{lines}\r\n{body}")
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn lengths_and_codings() -> Vec<Row> {
    let coding = |number, name, value: &str, status| {
        let lines = format!("Transfer-Encoding:{value}\r\n");
        Row::refused(number, name, post(&lines, "0\r\n\r\n{s}"), status)
    };
    let length = |number, name, value: &str| {
        Row::refused(number, name, post(&format!("Content-Length:{value}\r\n"), "hello"), 400)
    };
    let both = "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n";
    let both_again = "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n";
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n";
    vec![
        Row::refused("1a", "a length before chunks", post(both, "0\r\n\r\n{s}"), 400),
        Row::refused("1b", "chunks before a length", post(both_again, "0\r\n\r\n{s}"), 400),
        coding("2", "a length that hides behind an unknown coding", " x\r\nContent-Length: 5", 400),
        Row::refused("3", "two codings on two lines", post(twice, "0\r\n\r\n{s}"), 400),
        coding("4", "identity", " identity", 400),
        coding("5", "a word that only ends like chunked", " xchunked", 400),
        coding("6a", "chunked that is not last", " chunked, identity", 400),
        coding("6b", "identity before chunked", " identity, chunked", 501),
        coding("6c", "a coding before chunked", " gzip, chunked", 501),
        coding("6d", "chunked twice", " chunked, chunked", 400),
        Row::refused(
            "7",
            "a space before the colon",
            post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n{s}"),
            400,
        ),
        Row::passed(
            "8a",
            "a tab before the coding, which is legal",
            post("Transfer-Encoding:\tchunked\r\nConnection: close\r\n", "0\r\n\r\n"),
            &[],
            &[],
        )
        .body("")
        .or_refused(200),
        coding("8b", "a vertical tab before the coding", " \x0bchunked", 400),
        coding("8c", "a space of Unicode before the coding", " \u{a0}chunked", 400),
        coding("8d", "a coding in quotes", " \"chunked\"", 400),
        coding("8e", "a coding with a weight", " chunked;q=1", 400),
        coding("8f", "a NUL behind the coding", " chunked\0", 400),
        coding("8g", "a coding of no bytes", " ", 400),
        coding("9", "a folded coding", "\r\n chunked", 400),
        Row::refused(
            "10",
            "a first header line that begins with a space",
            "GET {t} HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: test\r\n\r\n",
            400,
        ),
        Row::passed(
            "13",
            "an underscore in the coding's name",
            post(
                "Content-Length: 5\r\nTransfer_Encoding: chunked\r\nConnection: close\r\n",
                "hello",
            ),
            &[],
            &[b"transfer_encoding"],
        )
        .body("hello")
        .or_refused(200),
        Row::refused(
            "14",
            "two lengths that differ",
            post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"),
            400,
        ),
        Row::passed(
            "15",
            "a length twice",
            post("Content-Length: 5\r\nContent-Length: 5\r\nConnection: close\r\n", "hello"),
            &[],
            &[],
        )
        .body("hello")
        .or_refused(400),
        length("16", "two lengths on a line", " 5, 6"),
        length("17a", "a length with a plus", " +5"),
        length("17b", "a length below nothing", " -1"),
        length("17c", "a length in hex", " 0x5"),
        length("17d", "a length with an underscore", " 5_0"),
        length("17e", "a length with a fraction", " 5.0"),
        length("17f", "a length of no digits", ""),
        length("17g", "a length with a gap", " 5 5"),
        length("18a", "a length of 64 bits", " 18446744073709551615"),
        length("18b", "a length of more", " 99999999999999999999999"),
        Row::refused(
            "27",
            "chunks in HTTP/1.0",
            "POST {t} HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        Row::passed(
            "28",
            "HTTP/1.0 without a length",
            "POST {t} HTTP/1.0\r\nHost: test\r\n\r\n",
            &[],
            &[],
        )
        .body("")
        .or_refused(200),
        Row::passed(
            "34a",
            "a length named as of one hop",
            post("Content-Length: 5\r\nConnection: close, Content-Length\r\n", "hello"),
            &[],
            &[],
        )
        .body("hello")
        .or_refused(200),
        Row::passed(
            "34b",
            "a coding named as of one hop",
            post(
                "Transfer-Encoding: chunked\r\nConnection: close, Transfer-Encoding\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
            &[],
            &[],
        )
        .body("hello")
        .or_refused(200),
        Row::passed(
            "34c",
            "Host named as of one hop",
            "GET {t} HTTP/1.1\r\nHost: test\r\nConnection: close, Host\r\n\r\n",
            &[b"host: test\r\n"],
            &[],
        )
        .or_refused(200),
    ]
}

fn lines() -> Vec<Row> {
    vec![
        Row::passed(
            "11a",
            "LF for CR LF in the head",
            "GET {t} HTTP/1.1\nHost: test\nConnection: close\n\n",
            &[],
            &[],
        )
        .or_refused(400),
        Row::passed(
            "11b",
            "LF for CR LF on one line",
            "GET {t} HTTP/1.1\r\nX-A: 1\nHost: test\r\nConnection: close\r\n\r\n",
            &[],
            &[],
        )
        .or_refused(400),
        Row::refused(
            "12a",
            "CR alone in a value",
            "GET {t} HTTP/1.1\r\nHost: test\r\nX-A: 1\rX-B: 2\r\n\r\n",
            400,
        ),
        Row::refused(
            "12b",
            "CR alone as the end of a line",
            "GET {t} HTTP/1.1\r\nHost: test\rX-A: 1\r\n\r\n",
            400,
        ),
        Row::refused(
            "12c",
            "CR alone in a coding",
            post("Transfer-Encoding: chunked\rX: y\r\n", "0\r\n\r\n{s}"),
            400,
        ),
    ]
}

fn chunks() -> Vec<Row> {
    let megabyte = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("1;{}\r\nx\r\n", "x".repeat(8 << 10)).repeat(64) + "0\r\n\r\n";
    let trailers = format!("0\r\n{}\r\n", "x-t: y\r\n".repeat(200_000));
    let evil = post(
        "Transfer-Encoding: chunked\r\nConnection: close\r\nTrailer: Host\r\n",
        "5\r\nhello\r\n0\r\nHost: evil\r\nContent-Length: 3\r\nAuthorization: evil\r\n\
         X-Forwarded-For: evil\r\n\r\n",
    );
    vec![
        Row::broken("19a", "a chunk's size with a plus", "+5\r\nhello\r\n0\r\n\r\n"),
        Row::broken("19b", "a chunk's size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        Row::broken("19c", "a chunk below nothing", "-5\r\nhello\r\n0\r\n\r\n"),
        Row::broken("19d", "a chunk without a size", "\r\nhello\r\n0\r\n\r\n"),
        Row::broken("19e", "a chunk's size that is a word", "xyz\r\nhello\r\n0\r\n\r\n"),
        Row::broken("19f", "a space before a chunk's size", " 5\r\nhello\r\n0\r\n\r\n"),
        Row::broken(
            "20a",
            "a chunk of 2^64 bytes and 5",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
        ),
        Row::broken("20b", "a chunk of 2^68 bytes", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        Row::broken("21a", "more than a chunk's size", "5\r\nhelloXX0\r\n\r\n"),
        Row::broken("21b", "a chunk that another follows at once", "5\r\nhello0\r\n\r\n"),
        Row::broken("22a", "LF in what is said about a chunk", "5;a\nhello\r\n0\r\n\r\n")
            .or_passed(Some("hello")),
        Row::broken("22b", "CR in what is said about a chunk", "5;a\rb\r\nhello\r\n0\r\n\r\n")
            .or_passed(Some("hello")),
        Row::broken("22c", "LF for CR LF behind a chunk's size", "5\nhello\r\n0\r\n\r\n")
            .or_passed(Some("hello")),
        Row::broken("22d", "LF for CR LF behind a chunk", "5\r\nhello\n0\r\n\r\n")
            .or_passed(Some("hello")),
        Row::broken("23", "a megabyte said about a chunk", &megabyte).or_passed(None),
        Row::broken("24", "8 KiB said about each byte", &many).or_passed(None),
        Row::broken("25a", "200,000 trailers", &trailers),
        Row::broken("25b", "a trailer with a space before its colon", "0\r\nx-t : y\r\n\r\n")
            .or_passed(None),
        Row::passed("26", "trailers that would frame and address", evil, &[], &[b"evil"])
            .body("hello")
            .or_refused(200),
    ]
}

fn what_is_legal() -> Vec<Row> {
    let close = "Connection: close\r\n";
    let sized = post(&format!("Content-Length: 5\r\n{close}"), "hello");
    let chunked = post(
        &format!("Transfer-Encoding: chunked\r\n{close}"),
        "3\r\nhel\r\n2;x=\"y\"\r\nlo\r\n0\r\n\r\n",
    );
    vec![
        Row::passed("0a", "a length that fits", sized, &[], &[]).body("hello"),
        Row::passed("0b", "chunks, and something said about one", chunked, &[], &[]).body("hello"),
        Row::passed(
            "0c",
            "an empty line before a request",
            format!("\r\nGET {{t}} HTTP/1.1\r\nHost: test\r\n{close}\r\n"),
            &[],
            &[],
        ),
        Row::passed(
            "29",
            "a GET with a body",
            format!(
                "GET {{t}} HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\
         {close}\r\nhello"
            ),
            &[],
            &[],
        )
        .body("hello"),
        Row::passed(
            "32",
            "bytes behind an upgrade that nobody grants",
            "GET {t} HTTP/1.1\r\nHost: test\r\n\
         Connection: Upgrade, close\r\nUpgrade: nonsense\r\n\r\n{s}",
            &[],
            &[b"smuggled"],
        )
        .or_refused(200),
        Row::passed(
            "33",
            "an upgrade to HTTP/2",
            "GET {t} HTTP/1.1\r\nHost: test\r\n\
         Connection: Upgrade, HTTP2-Settings, close\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\
         \r\n",
            &[],
            &[b"upgrade: h2c", b"http2-settings"],
        )
        .or_refused(200),
    ]
}
