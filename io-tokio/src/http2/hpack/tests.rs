use super::*;

fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Unreadable> {
    let mut fields = Vec::new();
    decoder.decode(&Bytes::copy_from_slice(block), |field| {
        let name = if let Name::Field(name) = &field.name {
            name.to_string()
        } else {
            format!("{:?}", field.name)
        };
        fields.push((name, String::from_utf8_lossy(field.value.as_bytes()).into_owned()));
    })?;
    Ok(fields)
}

fn encoded(encoder: &mut Encoder, fields: &[(&'static str, &str)]) -> BytesMut {
    let mut block = BytesMut::new();
    encoder.begin(&mut block);
    for (name, value) in fields {
        encoder.header(&HeaderName::from_static(name), &value.parse().unwrap(), &mut block);
    }
    block
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn what_is_written_is_read_and_shorter_each_time_until_the_third() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    let fields = [("accept", "*/*"), ("x-thing", "a value of some length"), ("accept", "text")];
    let lengths: Vec<_> = (0..4)
        .map(|_| {
            let block = encoded(&mut encoder, &fields);
            assert_eq!(decoded(&mut decoder, &block), Ok(owned(&fields)));
            block.len()
        })
        .collect();
    assert_eq!(lengths, [45, 43, 3, 3]);
}

#[test]
fn a_secret_is_never_kept_and_marked_as_one() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    for name in SECRETS {
        for _ in 0..3 {
            let mut block = BytesMut::new();
            encoder.header(&name, &HeaderValue::from_static("s"), &mut block);
            let mut is_sensitive = false;
            let take = |field: Field| is_sensitive = field.value.is_sensitive();
            decoder.decode(&block.freeze(), take).unwrap();
            assert!(is_sensitive, "{name}");
        }
    }
    assert!(encoder.table.is_empty() && decoder.table.is_empty());
}

#[test]
fn tables_that_overflow_stay_the_same_on_both_sides() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    for turn in 0..2_000_usize {
        let value = format!("{:>1$}", turn % 37, 3 + turn % 900);
        let fields = [("x-some", value.as_str()), ("x-same", "same"), ("x-some", &value)];
        let block = encoded(&mut encoder, &fields);
        let trimmed = |fields: Vec<(String, String)>| {
            fields.into_iter().map(|(n, v)| (n, v.trim().to_owned())).collect::<Vec<_>>()
        };
        let read = decoded(&mut decoder, &block).unwrap();
        assert_eq!(trimmed(read), trimmed(owned(&fields)), "{turn}");
        assert_eq!(encoder.size, decoder.size, "{turn}");
        assert!(encoder.size <= TABLE_BYTES);
    }
}

#[test]
fn a_peer_that_keeps_less_is_told_that_we_know() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    let fields = [("x-a", "1"), ("x-b", "2")];
    for size in [4_096, 40, 0, 4_096] {
        encoder.resize(size);
        for _ in 0..4 {
            let block = encoded(&mut encoder, &fields);
            assert_eq!(decoded(&mut decoder, &block), Ok(owned(&fields)), "{size}");
            assert!(decoder.size <= size, "{size}");
            assert_eq!(encoder.size, decoder.size, "{size}");
        }
    }
}

#[test]
fn the_requests_of_the_rfc_are_read_plain_and_coded() {
    let first = owned(&[
        ("Method", "GET"),
        ("Scheme", "http"),
        ("Path", "/"),
        ("Authority", "www.example.com"),
    ]);
    let mut second = first.clone();
    second.push(("cache-control".to_owned(), "no-cache".to_owned()));
    let plain: [&[u8]; 2] =
        [b"\x82\x86\x84\x41\x0fwww.example.com", b"\x82\x86\x84\xbe\x58\x08no-cache"];
    let coded: [&[u8]; 2] = [
        b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
        b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
    ];
    for blocks in [plain, coded] {
        let mut decoder = Decoder::default();
        assert_eq!(decoded(&mut decoder, blocks[0]).as_ref(), Ok(&first));
        assert_eq!(decoded(&mut decoder, blocks[1]).as_ref(), Ok(&second));
        assert_eq!(decoder.size, 57 + 53);
    }
}

#[test]
fn what_is_kept_keeps_nothing_of_the_block_beside_it() {
    let mut decoder = Decoder::default();
    let mut block = b"\x40\x01a\x01v\x00\x01b\x7f\x81\x07".to_vec();
    block.extend([b'w'; 1024]);
    let block = Bytes::from(block);
    let mut taken = 0;
    decoder.decode(&block, |field| taken += field.size).unwrap();
    assert_eq!((taken, decoder.size), (34 + 1_057, 34));
    assert!(block.is_unique(), "the table holds on to all of the block");
    assert_eq!(decoded(&mut decoder, b"\xbe"), Ok(owned(&[("a", "v")])));
}

#[test]
fn what_cannot_be_read_is_an_error_and_what_is_illegal_is_only_marked() {
    let cases: [(&str, &[u8]); 8] = [
        ("index 0", b"\x80"),
        ("an index beyond the tables", b"\xc0"),
        ("a string longer than the block", b"\x00\x05abc"),
        ("a name without a value", b"\x00\x01a"),
        ("a number without an end", b"\xff\xff\xff\xff\xff\xff"),
        ("a table larger than it may be", b"\x3f\xe2\x1f"),
        ("a table resized within a block", b"\x82\x20"),
        ("a bad code", b"\x00\x81\x00\x01a"),
    ];
    for (what, block) in cases {
        assert_eq!(decoded(&mut Decoder::default(), block), Err(Unreadable), "{what}");
    }
    let illegal: [&[u8]; 4] =
        [b"\x40\x01A\x01v", b"\x40\x00\x01v", b"\x40\x01a\x01\n", b"\x40\x02:x\x01v"];
    for block in illegal {
        let mut decoder = Decoder::default();
        let read = decoded(&mut decoder, block).unwrap();
        assert_eq!(read[0].0, "Illegal", "{block:?}");
        // Kept all the same, or the tables would differ from now on.
        assert_eq!(decoder.table.len(), 1);
        assert_eq!(decoded(&mut decoder, b"\xbe").unwrap()[0].0, "Illegal");
    }
}
