//! B2 of the catalogue: request line, host and headers. B3: what is of one hop, and who says where
//! a request comes from.

use crate::row::Row;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = hosts();
    rows.extend(request_lines());
    rows.extend(sizes());
    rows.extend(headers());
    rows.extend(hops());
    rows
}

fn get(lines: &str) -> String {
    format!("GET {{t}} HTTP/1.1\r\n{lines}\r\n")
}

fn hosts() -> Vec<Row> {
    let host = |number, name, value: &str| {
        Row::refused(number, name, get(&format!("Host: {value}\r\n")), 400)
    };
    let absolute = "GET http://named{t} HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n";
    let metadata =
        "GET http://169.254.169.254{t} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    vec![
        Row::refused("37", "no Host", get(""), 400),
        Row::refused("38", "two Hosts", get("Host: a\r\nHost: b\r\n"), 400),
        host("39a", "a space in Host", "a b"),
        host("39b", "a slash in Host", "a/b"),
        host("39c", "a user in Host", "u@a"),
        host("39d", "a backslash in Host", "a\\b"),
        host("39e", "a NUL in Host", "a\0b"),
        host("39f", "a word for the port", "a:b").or_passed(None),
        host("39g", "a Host of 2,000 bytes", &"a".repeat(2_000)).or_passed(None),
        Row::passed(
            "40",
            "a target for another than Host",
            absolute,
            &[b" {t}", b"host: named\r\n"],
            &[b"other"],
        )
        .or_refused(200),
        Row::passed(
            "41",
            "a target at the address of metadata",
            metadata,
            &[b" {t}", b"host: 169.254.169.254\r\n"],
            &[],
        )
        .or_refused(200),
        Row::refused(
            "42a",
            "a target that is a file",
            "GET file:///etc/passwd{t} HTTP/1.1\r\nHost: test\r\n\r\n",
            400,
        ),
        Row::refused(
            "42b",
            "a user in the target",
            "GET http://u:p@test{t} HTTP/1.1\r\nHost: test\r\n\r\n",
            400,
        ),
        Row::refused(
            "42c",
            "a target of another protocol",
            "GET ftp://test{t} HTTP/1.1\r\nHost: test\r\n\r\n",
            400,
        ),
    ]
}

fn request_lines() -> Vec<Row> {
    let target = |number, name, target: &str| {
        let line = format!("GET {{t}}{target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        Row::passed(number, name, line, &[format!(" {{t}}{target} http/1.1\r\n").as_bytes()], &[])
    };
    let line = |number, name, line: &[u8], status| {
        Row::refused(number, name, [line, b"\r\nHost: test\r\n\r\n"].concat(), status)
    };
    vec![
        Row::refused("43", "CONNECT", "CONNECT test:80 HTTP/1.1\r\nHost: test:80\r\n\r\n", 405),
        Row::refused("44", "TRACE", "TRACE {t} HTTP/1.1\r\nHost: test\r\n\r\n", 405),
        line("46a", "HTTP/0.9", b"GET {t}", 400),
        line("46b", "HTTP/2.0 on a line", b"GET {t} HTTP/2.0", 505),
        line("46c", "HTTP/9.9", b"GET {t} HTTP/9.9", 505),
        line("46d", "another protocol's name", b"GET {t} HTTX/1.1", 400),
        line("46e", "a version in small letters", b"GET {t} http/1.1", 400),
        line("47a", "a NUL in the target", b"GET {t}\0 HTTP/1.1", 400),
        line("47b", "a NUL in the method", b"G\0T {t} HTTP/1.1", 400),
        line("47c", "an escape in the target", b"GET {t}\x1b HTTP/1.1", 400),
        Row::refused("47d", "a NUL in a name", get("Host: test\r\nX\0: 1\r\n"), 400),
        Row::refused("47e", "a NUL in a value", get("Host: test\r\nX: \0\r\n"), 400),
        Row::refused("47f", "a DEL in a value", get("Host: test\r\nX: \x7f\r\n"), 400)
            .or_passed(None),
        line("47g", "a fragment in the target", b"GET {t}#x HTTP/1.1", 400),
        line("48a", "a space in the target", b"GET {t}/a b HTTP/1.1", 400),
        line("48b", "two spaces before the version", b"GET {t}  HTTP/1.1", 400),
        line("48c", "a tab for a space", b"GET\t{t}\tHTTP/1.1", 400),
        target("49a", "quotes and angle brackets in the query", "?a=\"<>\"").or_refused(400),
        target("49b", "braces, a bar and a circumflex in the query", "?a={}|^").or_refused(200),
        target("49c", "a backtick in the query", "?a=`").or_refused(200),
        target("49d", "angle brackets in the path", "/a<b>").or_refused(400),
        target("49e", "a backtick in the path", "/a`b").or_refused(400),
        target("49f", "quotes in the query", "?q=\"y\"").or_refused(400),
        target("49g", "an angle bracket in the query", "?x=<").or_refused(400),
        target("50", "bytes of UTF-8 in the target", "/caf\u{e9}").or_refused(200),
        line("50b", "a byte in the target that is no UTF-8", b"GET {t}/\xff HTTP/1.1", 400)
            .or_passed(None),
        target("51a", "dots in escapes", "/%2e%2e/x"),
        target("51b", "two slashes", "//x"),
        target("51c", "an escaped NUL", "/%00"),
        target("51d", "an escaped end of line", "/%0d%0aX:y"),
        target("51e", "an escaped slash, in capitals and not", "/%2F%2f"),
        target("51f", "dots between slashes", "/a/../b/./c"),
        line("52a", "a target without a slash", b"GET x{t} HTTP/1.1", 400),
        line("52b", "no target", b"GET  HTTP/1.1", 400),
        Row::refused(
            "56a",
            "the hello of TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            400,
        ),
        Row::refused("56b", "noise", b"\x00\xff\x80\x01\x02\r\n\r\n", 400),
    ]
}

fn sizes() -> Vec<Row> {
    let target = |number, name, bytes| {
        let line = format!("GET {{t}}{} HTTP/1.1\r\nHost: test\r\n\r\n", "x".repeat(bytes));
        Row::refused(number, name, line, 414)
    };
    let lines = |number, name, lines: &str| {
        Row::refused(number, name, get(&format!("Host: test\r\n{lines}")), 431)
    };
    let name = |bytes| format!("{}: y\r\n", "x".repeat(bytes));
    let value = |bytes| format!("x: {}\r\n", "y".repeat(bytes));
    let close = "Host: test\r\nConnection: close\r\n";
    let legal = get(&format!("{close}{}", value(7_000)));
    let long = get(&format!("{close}{}", value(6_500).repeat(9)));
    let many = get(&format!("{close}{}X-Last: 1\r\n", "x: y\r\n".repeat(97)));
    let deep = format!("GET {{t}}{} HTTP/1.1\r\n{close}\r\n", "x".repeat(16_000));
    vec![
        target("53a", "a target of 64 KiB", 64 << 10),
        target("53b", "a target of a megabyte", 1 << 20),
        lines("54a", "a header of a megabyte", &value(1 << 20)),
        lines("54b", "a name of a megabyte", &name(1 << 20)),
        lines("54c", "10,000 headers", &"x: y\r\n".repeat(10_000)),
        lines("54d", "8 MB of headers", &value(8_000).repeat(1_000)),
        lines("54e", "65 KiB of headers", &value(6_600).repeat(10)),
        Row::refused("55a", "a request line without end", vec![b'A'; 1 << 20], 414),
        Row::refused(
            "55b",
            "a header line without end",
            [get("").trim_end().as_bytes(), b"\r\n", &vec![b'A'; 1 << 20]].concat(),
            431,
        ),
        Row::passed("54f", "7,000 bytes of header, which is legal", legal, &[b"yyyyyyyy"], &[]),
        Row::passed("54g", "58 KB of headers, which we take", long, &[b"yyyyyyyy"], &[]).ours(),
        Row::passed("54h", "100 headers, which we take", many, &[b"x-last: 1\r\n"], &[]).ours(),
        Row::passed("53c", "a target of 16,000 bytes, which we take", deep, &[b"xxxxx"], &[])
            .ours(),
    ]
}

fn headers() -> Vec<Row> {
    let lines = |number, name, lines: &str| {
        Row::refused(number, name, get(&format!("Host: test\r\n{lines}")), 400)
    };
    let close = "Host: test\r\nConnection: close\r\n";
    let latin = [get(close).trim_end().as_bytes(), b"\r\nX-Latin: caf\xe9\r\n\r\n"].concat();
    let repeated = get(&format!("{close}X-B: 2\r\nX-A: 1\r\nX-A: 3\r\n"));
    let cookies = get(&format!("{close}Cookie: a=1\r\nCookie: b=2\r\n"));
    vec![
        lines("57a", "a name alone", "X-A\r\n"),
        lines("57b", "no name", ": x\r\n"),
        lines("57c", "a space before a colon", "X-A : 1\r\n"),
        lines("57d", "a folded line", "X-A: 1\r\n 2\r\n"),
        Row::passed("58", "a value in Latin-1", latin, &[b"x-latin: caf\xe9\r\n"], &[]),
        Row::passed(
            "59",
            "a repeated header",
            repeated,
            &[b"x-b: 2\r\n", b"x-a: 1\r\n", b"x-a: 3\r\n"],
            &[],
        ),
        Row::passed(
            "60",
            "two lines of cookies",
            cookies,
            &[b"cookie: a=1", b"b=2\r\n"],
            &[b"a=1,"],
        ),
        Row::refused(
            "66a",
            "something unknown expected",
            get("Host: test\r\nExpect: more\r\n"),
            417,
        )
        .or_passed(None),
    ]
}

fn hops() -> Vec<Row> {
    let close = "Host: test\r\nConnection: close";
    let sent = |number, name, lines: &str, has: &[&[u8]], lacks: &[&[u8]]| {
        Row::passed(number, name, get(&format!("{close}{lines}\r\n")), has, lacks)
    };
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    vec![
        sent(
            "61a",
            "a header named as of one hop",
            ", X-Secret\r\nX-Secret: 1\r\nX-Kept: 1",
            &[b"x-kept: 1\r\n"],
            &[b"x-secret"],
        ),
        sent("62a", "Keep-Alive", "\r\nKeep-Alive: timeout=5", &[], &[b"keep-alive: timeout"]),
        sent(
            "62b",
            "Proxy-Connection",
            "\r\nProxy-Connection: keep-alive",
            &[],
            &[b"proxy-connection"],
        ),
        sent("62c", "Upgrade that is not asked for", "\r\nUpgrade: websocket", &[], &[b"upgrade:"]),
        sent("62d", "TE beside trailers", "\r\nTE: gzip", &[], &[b"te: gzip"]),
        sent(
            "63",
            "names of ours",
            "\r\nX-Lambda-Id: 1\r\nX-Pool-Id: 1\r\nX-Channel-Id: 1\r\nX-Lambda-Dispatch-Debug: 1",
            &[],
            &[b"x-lambda", b"x-pool", b"x-channel"],
        )
        .ours(),
        sent(
            "64a",
            "a stranger's word on earlier hops",
            "\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4",
            &[b"x-forwarded-for: 127.0.0.1\r\n", b"x-forwarded-proto: http\r\n"],
            &[b"1.2.3.4"],
        )
        .ours(),
        sent(
            "64b",
            "the same with underscores",
            "\r\nX_Forwarded_For: 1.2.3.4",
            &[],
            &[b"1.2.3.4"],
        ),
        sent("65a", "a trace", &format!("\r\ntraceparent: {trace}"), &[trace.as_bytes()], &[]),
        sent(
            "65b",
            "a trace of a kilobyte",
            &format!("\r\nX-Amzn-Trace-Id: {}", "z".repeat(1_024)),
            &[],
            &[b"zzzz"],
        )
        .ours(),
    ]
}
