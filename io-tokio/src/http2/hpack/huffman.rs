//! Strings in HPACK's Huffman code (RFC 7541, appendix B).
//!
//! They are read, since peers may write them, and never written: on this link a byte is cheaper
//! than what it takes to save it. The code is canonical, so that the lengths are all there is to
//! know of it: codes of one length follow each other, in the order of what they stand for.

/// How many bits the code of each byte takes.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];
const BITS_MAX: usize = 30;

struct Code {
    /// By length of code, then by value.
    symbols: [u8; 256],
    /// By length: the first code, where its symbol is, and how many there are.
    first: [u32; BITS_MAX + 1],
    place: [u32; BITS_MAX + 1],
    count: [u32; BITS_MAX + 1],
}

static CODE: Code = Code::new();

impl Code {
    const fn new() -> Self {
        let none = [0; BITS_MAX + 1];
        let mut code = Self { symbols: [0; 256], first: none, place: none, count: none };
        let (mut bits, mut next, mut placed) = (1, 0, 0);
        while bits <= BITS_MAX {
            next <<= 1;
            code.first[bits] = next;
            code.place[bits] = placed;
            let mut symbol = 0_u8;
            loop {
                if LENGTHS[symbol as usize] as usize == bits {
                    code.symbols[placed as usize] = symbol;
                    placed += 1;
                    code.count[bits] += 1;
                }
                if symbol == u8::MAX {
                    break;
                }
                symbol += 1;
            }
            next += code.count[bits];
            bits += 1;
        }
        code
    }
}

/// What `coded` stands for; `None` if it is no such code, or ends as it must not.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(coded.len() * 8 / 5);
    let (mut bits, mut value) = (0, 0_u32);
    for byte in coded {
        for shift in (0..8).rev() {
            value = value << 1 | u32::from(byte >> shift & 1);
            bits += 1;
            let past = value.wrapping_sub(CODE.first[bits]);
            if past < CODE.count[bits] {
                text.push(CODE.symbols[(CODE.place[bits] + past) as usize]);
                (bits, value) = (0, 0);
            } else if bits == BITS_MAX {
                // That of the end, which is never written.
                return None;
            }
        }
    }
    // What fills the last byte is the beginning of that code: ones, and fewer than eight.
    (bits < 8 && value == (1 << bits) - 1).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let examples: [(&[u8], &str); 4] = [
            (b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", "www.example.com"),
            (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (b"\x64\x02", "302"),
            (
                b"\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3",
                "https://www.example.com",
            ),
        ];
        for (coded, text) in examples {
            assert_eq!(decode(coded).as_deref(), Some(text.as_bytes()), "{text}");
        }
        assert_eq!(decode(b"").as_deref(), Some(&b""[..]));
    }

    #[test]
    fn what_ends_wrongly_is_no_code() {
        let cases: [(&str, &[u8]); 4] = [
            ("a byte of padding", b"\x64\x02\xff"),
            ("padding that is not ones", b"\x18"),
            ("the end, written", b"\xff\xff\xff\xff"),
            ("a long code cut short", b"\xff\xc0"),
        ];
        for (what, coded) in cases {
            assert_eq!(decode(coded), None, "{what}");
        }
    }
}
