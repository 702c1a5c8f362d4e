//! A reader of HPACK (RFC 7541) as the links' own side writes it, which is without Huffman's code.

use std::collections::VecDeque;

/// A name and its value.
pub(super) type Field = (Vec<u8>, Vec<u8>);

/// What a peer keeps of the fields that it has read.
#[derive(Debug)]
pub(super) struct Fields {
    /// The newest first.
    table: VecDeque<Field>,
    size_max: usize,
    /// What the peer has said it keeps, and the other has acknowledged.
    pub(super) allowed: usize,
    /// The next block has to begin with making the table this small.
    pub(super) has_to_shrink_to: Option<usize>,
}

impl Default for Fields {
    fn default() -> Self {
        let table = VecDeque::new();
        Self { table, size_max: TABLE_BYTES, allowed: TABLE_BYTES, has_to_shrink_to: None }
    }
}

impl Fields {
    /// The peer keeps `bytes` from now on.
    pub(super) fn allow(&mut self, bytes: usize) {
        self.allowed = bytes;
        if bytes < self.size_max {
            let least = self.has_to_shrink_to.map_or(bytes, |least| least.min(bytes));
            self.has_to_shrink_to = Some(least);
        }
    }

    /// # Panics
    ///
    /// `block` cannot be read: a find.
    pub(super) fn read(&mut self, mut block: &[u8]) -> Vec<Field> {
        let mut fields = Vec::new();
        let mut smallest = usize::MAX;
        while let Some(first) = block.first().copied() {
            if first & 0xe0 == 0x20 {
                assert!(fields.is_empty(), "a table's size amid fields");
                self.size_max = number(&mut block, 5);
                assert!(self.size_max <= self.allowed, "a table of {} bytes", self.size_max);
                smallest = smallest.min(self.size_max);
                self.make_room(0);
                continue;
            }
            let wanted = self.has_to_shrink_to.take().unwrap_or(usize::MAX);
            assert!(smallest <= wanted, "the table still has {} bytes", self.size_max);
            fields.push(if first & 0x80 != 0 {
                let index = number(&mut block, 7);
                self.known(index).clone()
            } else {
                let is_kept = first & 0x40 != 0;
                let field = self.literal(&mut block, if is_kept { 6 } else { 4 });
                if is_kept {
                    self.keep(field.clone());
                }
                field
            });
        }
        fields
    }

    fn literal(&self, block: &mut &[u8], bits: u32) -> Field {
        let name = match number(block, bits) {
            0 => string(block),
            index => match STATIC_NAMES.split_whitespace().nth(index - 1) {
                Some(name) => name.as_bytes().to_vec(),
                None => self.known(index).0.clone(),
            },
        };
        (name, string(block))
    }

    fn known(&self, index: usize) -> &Field {
        let place = index.checked_sub(STATIC_NAMES.split_whitespace().count() + 1);
        place.and_then(|place| self.table.get(place)).expect("a field that is known")
    }

    fn keep(&mut self, field: Field) {
        self.make_room(size(&field));
        if size(&field) <= self.size_max {
            self.table.push_front(field);
        }
    }

    fn make_room(&mut self, bytes: usize) {
        while self.table.iter().map(size).sum::<usize>() + bytes > self.size_max
            && self.table.pop_back().is_some()
        {}
    }
}

fn size((name, value): &Field) -> usize {
    name.len() + value.len() + 32
}

fn number(block: &mut &[u8], bits: u32) -> usize {
    let most = (1 << bits) - 1;
    let mut value = usize::from(next(block)) & most;
    let mut shift = 0;
    while value >= most {
        let byte = next(block);
        value += usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn string(block: &mut &[u8]) -> Vec<u8> {
    assert!(block.first().is_some_and(|first| first & 0x80 == 0), "a string in Huffman's code");
    let len = number(block, 7);
    let (string, rest) = block.split_at_checked(len).expect("all of a string");
    *block = rest;
    string.to_vec()
}

fn next(block: &mut &[u8]) -> u8 {
    let (first, rest) = block.split_first().expect("all of a field");
    *block = rest;
    *first
}

const TABLE_BYTES: usize = 4_096;
/// RFC 7541, appendix A.
const STATIC_NAMES: &str = ":authority :method :method :path :path :scheme :scheme :status \
    :status :status :status :status :status :status accept-charset accept-encoding \
    accept-language accept-ranges accept access-control-allow-origin age allow authorization \
    cache-control content-disposition content-encoding content-language content-length \
    content-location content-range content-type cookie date etag expect expires from host \
    if-match if-modified-since if-none-match if-range if-unmodified-since last-modified link \
    location max-forwards proxy-authenticate proxy-authorization range referer refresh \
    retry-after server set-cookie strict-transport-security transfer-encoding user-agent vary \
    via www-authenticate";
