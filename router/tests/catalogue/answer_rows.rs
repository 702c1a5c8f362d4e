//! B3 and B6 of the catalogue, from the app's side: what an app may answer, and what becomes of it.

use crate::row::{May, Row};

#[expect(clippy::too_many_lines, reason = "it is a table")]
pub(crate) fn rows() -> Vec<Row> {
    let fails = |number, name, answer: &[u8]| Row::answer(number, name, answer, May::FailApp, 502);
    let cut = |number, name, answer: &str| Row::answer(number, name, answer, May::CutAnswer, 200);
    let passes = |number, name, answer: &str, has: &[&str], lacks: &[&str]| {
        let owned = |parts: &[&str]| parts.iter().map(|it| it.as_bytes().to_vec()).collect();
        let may = May::Answer { status: 200, has: owned(has), lacks: owned(lacks) };
        Row::answer(number, name, answer, may, 200)
    };
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n";
    vec![
        passes(
            "61b",
            "a header of the answer named as of one hop",
            &format!(
                "{ok}Connection: close, X-Secret\r\nX-Secret: 1\r\n\
         X-Kept: 1\r\n\r\nok"
            ),
            &["x-kept: 1", "ok"],
            &["x-secret"],
        ),
        passes(
            "62e",
            "Keep-Alive and Upgrade in the answer",
            &format!("{ok}Keep-Alive: timeout=5\r\nUpgrade: h2\r\n\r\nok"),
            &["ok"],
            &["keep-alive: timeout", "upgrade: h2"],
        ),
        passes(
            "63b",
            "names of ours in the answer",
            &format!(
                "{ok}X-Lambda-Id: 1\r\nLambda-Dispatch-Error: app\r\n\
         X-Kept: 1\r\n\r\nok"
            ),
            &["x-kept: 1"],
            &["x-lambda", "lambda-dispatch"],
        )
        .ours(),
        passes(
            "68a",
            "answers on the way before the answer",
            &format!("HTTP/1.1 102 Processing\r\n\r\n{ok}\r\nok"),
            &["200 ok", "ok"],
            &[],
        ),
        passes(
            "68b",
            "a hundred answers on the way",
            &format!("{}{ok}\r\nok", "HTTP/1.1 102 Processing\r\n\r\n".repeat(100)),
            &["200 ok", "ok"],
            &[],
        ),
        fails(
            "69",
            "101 that nobody asked for",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
         Upgrade: x\r\n\r\n",
        ),
        fails("94a", "garbage", b"\x00\x01\x02\x03garbage\r\n\r\n"),
        fails("94b", "nothing", b""),
        fails("94c", "half a head", b"HTTP/1.1 200 OK\r\nContent-Le"),
        fails("94d", "a status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
        fails("94e", "a status that is a word", b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n"),
        fails(
            "94f",
            "two lengths that differ",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\
         Content-Length: 2\r\n\r\nok",
        ),
        fails("94g", "a length below nothing", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok"),
        fails(
            "94h",
            "a length beside chunks",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\
         Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        )
        .or_answered("ok", 200),
        fails(
            "94i",
            "a length beside chunks that are shorter",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\
         Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        )
        .or_answered("\r\n2\r\nok\r\n0\r\n\r\n", 200),
        fails(
            "94j",
            "a coding before chunked",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n\
         2\r\nok\r\n0\r\n\r\n",
        )
        .or_answered("\r\n2\r\nok\r\n0\r\n\r\n", 502),
        fails(
            "94k",
            "a length twice",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        )
        .or_answered("\r\n\r\nok", 200),
        cut(
            "95a",
            "a crash within a length",
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart",
        ),
        cut(
            "95b",
            "a crash within chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\
         part\r\n",
        ),
        cut(
            "95c",
            "a crash within a chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n\
         part",
        ),
        cut(
            "95d",
            "chunks that are none",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\
         part\r\nxyz\r\n",
        ),
    ]
}
