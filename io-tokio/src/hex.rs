//! Thirty-two bytes as 64 hexadecimal digits and back, and numbers as few of them.

/// Puts `number` in lower-case hexadecimal behind `text`, as `{number:x}` would, for a tenth of the
/// cost.
pub(crate) fn push(text: &mut String, number: u64) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
    text.extend((0..digits).rev().map(|place| digit((number >> (4 * place) & 15) as u8)));
}

/// `bytes` in lower-case hexadecimal.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// The bytes that exactly 64 digits of either case stand for.
pub(crate) fn decode(digits: &[u8]) -> Option<[u8; 32]> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let pairs: &[[u8; 2]; 32] = pairs.try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(bytes)
}

const fn digit(nibble: u8) -> char {
    DIGITS[(nibble & 15) as usize] as char
}

const fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_without_leading_zeros() {
        for number in [0, 1, 15, 16, 0xa0, 0x1234_5678_9abc_def0, u64::MAX] {
            let mut text = "-".to_owned();
            push(&mut text, number);
            assert_eq!(text, format!("-{number:x}"));
        }
    }

    #[test]
    fn digits_and_bytes_are_the_same_thing() {
        let bytes: [u8; 32] = std::array::from_fn(|index| u8::try_from(index * 8).unwrap());
        assert_eq!(decode(encode(&bytes).as_bytes()), Some(bytes));
        assert_eq!(decode("AB".repeat(32).as_bytes()), Some([0xab; 32]));
        for wrong in
            [String::new(), "ab".repeat(31), "ab".repeat(33), "a".repeat(63), "zz".repeat(32)]
        {
            assert_eq!(decode(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
