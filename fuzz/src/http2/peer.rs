//! What a peer knows of a connection from the frames that went both ways, and what it may expect.
//!
//! Frames in doubt count for the connection: whatever the peer may have granted, it has.

use std::collections::{BTreeMap, VecDeque};

use io_tokio::http2::Config;

use super::fields::{Field, Fields};
use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, PREFACE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE,
};

/// The peer's view.
#[derive(Debug)]
pub(super) struct Peer {
    config: Config,
    is_server: bool,
    streams: BTreeMap<u32, Stream>,
    /// The last that either side opened.
    last_id: u32,
    sent: Sent,
    came: Came,
    /// All that was sent before has been read, and all that it led to has come.
    pub(super) is_quiet: bool,
    /// A connection of ours may send nothing new after it has read that it should leave.
    is_told_to_leave: bool,
    has_sent_goaway: bool,
    /// What the heads that come must have in them, by the number in them.
    pub(super) expected: BTreeMap<u64, Vec<Field>>,
}

#[derive(Debug, Default)]
struct Stream {
    has_head: bool,
    /// It was begun by a frame that came or was sent.
    we: Half,
    they: Half,
    /// What it was granted to send beside the initial window, and what it sent.
    granted: u64,
    spent: u64,
    /// What the peer may still send on it.
    allowance: i64,
}

/// One direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Half {
    #[default]
    Open,
    Ended,
    Reset,
    /// And the other side has seen it.
    Settled,
}

/// What went to the connection.
#[derive(Debug)]
struct Sent {
    /// The beginning of a frame.
    rest: Vec<u8>,
    preface: usize,
    settings: VecDeque<Vec<(u16, u32)>>,
    pings: VecDeque<Vec<u8>>,
    /// The most that holds, and what holds as soon as it was read.
    window: Level,
    frame_bytes: Level,
    streams_max: Level,
    granted: u64,
    spent: u64,
    allowance: i64,
}

/// A limit that counts at once when it rises, and when it was certainly read when it falls.
#[derive(Clone, Copy, Debug)]
struct Level {
    most: u32,
    last: u32,
}

impl Level {
    const fn new(value: u32) -> Self {
        Self { most: value, last: value }
    }

    fn set(&mut self, value: u32) {
        self.last = value;
        self.most = self.most.max(value);
    }

    const fn settle(&mut self) {
        self.most = self.last;
    }
}

/// What came from it.
#[derive(Debug, Default)]
struct Came {
    rest: Vec<u8>,
    has_preface: bool,
    has_settings: bool,
    /// A head of which more is to come: its stream, whether it ends that, its bytes.
    block: Option<(u32, bool, Vec<u8>)>,
    fields: Fields,
    has_failed: bool,
}

impl Peer {
    pub(super) fn new(config: Config, is_server: bool) -> Self {
        Self {
            config,
            is_server,
            streams: BTreeMap::new(),
            last_id: 0,
            sent: Sent {
                rest: Vec::new(),
                preface: if is_server { PREFACE.len() } else { 0 },
                settings: VecDeque::new(),
                pings: VecDeque::new(),
                window: Level::new(WINDOW),
                frame_bytes: Level::new(16_384),
                streams_max: Level::new(u32::MAX),
                granted: u64::from(WINDOW),
                spent: 0,
                allowance: i64::from(WINDOW),
            },
            came: Came::default(),
            is_quiet: false,
            is_told_to_leave: false,
            has_sent_goaway: false,
            expected: BTreeMap::new(),
        }
    }

    /// All streams together may send `bytes` now, if that is more than before.
    pub(super) fn allow(&mut self, bytes: u32) {
        self.config.connection_window = self.config.connection_window.max(bytes);
    }

    pub(super) const fn last_id(&self) -> u32 {
        self.last_id
    }

    /// All that was sent has been read, and answered.
    pub(super) fn settle(&mut self) {
        self.is_quiet = true;
        self.is_told_to_leave |= self.has_sent_goaway;
        for level in [&mut self.sent.window, &mut self.sent.frame_bytes, &mut self.sent.streams_max]
        {
            level.settle();
        }
        for stream in self.streams.values_mut().filter(|stream| stream.they == Half::Reset) {
            stream.they = Half::Settled;
        }
        if !self.came.has_failed && self.sent.preface == 0 {
            assert!(self.sent.settings.is_empty(), "settings without an answer");
            assert!(self.sent.pings.is_empty(), "a ping without an answer");
        }
    }

    /// Of what was sent `unread` bytes have not been read by those whom they are for: they take
    /// nothing from the others but themselves.
    pub(super) fn expect_windows(&self, unread: usize) {
        let most = self.config.connection_window;
        let (left, read) = (self.sent.allowance, i64::from(most) - unread as i64);
        assert!(
            self.came.has_failed || left >= read / 2,
            "of {most} bytes {left} are left although only {unread} were not read",
        );
    }

    // What is sent.

    pub(super) fn sends(&mut self, bytes: &[u8]) {
        let preface = self.sent.preface.min(bytes.len());
        self.sent.preface -= preface;
        self.sent.rest.extend_from_slice(&bytes[preface..]);
        let rest = std::mem::take(&mut self.sent.rest);
        let mut at = 0;
        while let Some((frame, bytes)) = Frame::read(&rest[at..]) {
            self.sends_frame(&frame);
            at += bytes;
        }
        self.sent.rest = rest[at..].to_vec();
    }

    fn sends_frame(&mut self, frame: &Frame) {
        let was_quiet = std::mem::take(&mut self.is_quiet);
        let number = frame.payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        if frame.kind == HEADERS && self.is_server && frame.stream % 2 == 1 {
            let is_new = frame.stream > self.last_id;
            self.last_id = self.last_id.max(frame.stream);
            if is_new {
                let allowance = i64::from(self.config.stream_window);
                self.streams.insert(frame.stream, Stream { allowance, ..Stream::default() });
            }
        }
        if !self.is_server && frame.stream % 2 == 1 {
            // What opens it may be on its way, or stuck.
            self.streams.entry(frame.stream).or_default();
        }
        let stream = self.streams.get_mut(&frame.stream);
        match frame.kind {
            DATA => {
                let bytes = frame.payload.len() as i64;
                self.sent.allowance -= bytes;
                if let Some(stream) = stream {
                    stream.allowance -= bytes;
                    stream.they.end_if(frame.flags & END_STREAM != 0);
                }
            }
            HEADERS => {
                if let Some(stream) = stream {
                    stream.they.end_if(frame.flags & END_STREAM != 0);
                }
            }
            RST_STREAM => {
                if let Some(stream) = stream.filter(|stream| stream.they != Half::Settled) {
                    stream.they = if was_quiet { Half::Settled } else { Half::Reset };
                }
            }
            SETTINGS if frame.flags & ACK == 0 => self.sends_settings(frame),
            PING if frame.flags & ACK == 0 => self.sent.pings.push_back(frame.payload.clone()),
            GOAWAY if frame.payload.len() >= 8 && frame.stream == 0 => {
                self.has_sent_goaway = true;
                self.is_told_to_leave |= was_quiet;
            }
            WINDOW_UPDATE => {
                let more = u64::from(number.unwrap_or(0) & ID_MAX);
                match stream {
                    Some(stream) => stream.granted += more,
                    None if frame.stream == 0 => self.sent.granted += more,
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn sends_settings(&mut self, frame: &Frame) {
        let mut settings = Vec::new();
        for [a, b, value @ ..] in frame.payload.as_chunks::<6>().0 {
            let (name, value) = (u16::from_be_bytes([*a, *b]), u32::from_be_bytes(*value));
            settings.push((name, value));
            match name {
                3 => self.sent.streams_max.set(value),
                4 => self.sent.window.set(value),
                5 => self.sent.frame_bytes.set(value),
                _ => {}
            }
        }
        self.sent.settings.push_back(settings);
    }

    // What comes.

    /// # Panics
    ///
    /// It is not what may come: a find.
    pub(super) fn takes(&mut self, bytes: &[u8]) {
        self.came.rest.extend_from_slice(bytes);
        if !self.is_server && !self.came.has_preface && self.came.rest.len() >= PREFACE.len() {
            assert!(self.came.rest.starts_with(PREFACE), "no preface");
            self.came.rest.drain(..PREFACE.len());
            self.came.has_preface = true;
        }
        if !self.is_server && !self.came.has_preface {
            return;
        }
        let rest = std::mem::take(&mut self.came.rest);
        let mut at = 0;
        while let Some((frame, bytes)) = Frame::read(&rest[at..]) {
            self.takes_frame(&frame);
            at += bytes;
        }
        self.came.rest = rest[at..].to_vec();
    }

    /// Whether the last frame is there as a whole.
    pub(super) fn is_between_frames(&self) -> bool {
        self.came.rest.is_empty() && self.came.block.is_none()
    }

    fn takes_frame(&mut self, frame: &Frame) {
        let Frame { kind, flags, stream: id, payload } = frame;
        let len = payload.len();
        assert!(len <= self.sent.frame_bytes.most as usize, "a frame of {len} bytes");
        assert!(self.came.has_settings || *kind == SETTINGS, "no SETTINGS at first");
        self.came.has_settings = true;
        let block = self.came.block.as_ref().map(|(id, ..)| *id);
        assert_eq!(*kind == CONTINUATION, block.is_some(), "{frame:?} after {block:?}");
        let is_for_all = matches!(*kind, SETTINGS | PING | GOAWAY);
        assert!(*kind == WINDOW_UPDATE || is_for_all == (*id == 0), "{frame:?} at the wrong place");
        if *id != 0 && *kind != CONTINUATION {
            self.expect_open(frame);
        }
        match *kind {
            DATA => self.takes_data(*id, len, flags & END_STREAM != 0),
            HEADERS => {
                let ends = flags & END_STREAM != 0;
                self.came.block = Some((*id, ends, payload.clone()));
            }
            CONTINUATION => {
                let block = self.came.block.as_mut().filter(|block| block.0 == *id);
                block.expect("of the same stream").2.extend_from_slice(payload);
            }
            RST_STREAM => {
                assert_eq!(len, 4);
                self.streams.entry(*id).or_default().we = Half::Reset;
            }
            SETTINGS => self.takes_settings(*flags, payload),
            PING if flags & ACK != 0 => {
                assert_eq!(Some(payload), self.sent.pings.pop_front().as_ref(), "another ping");
            }
            PING => assert_eq!(payload, b"dispatch"),
            GOAWAY => {
                assert_eq!(len, 8);
                self.came.has_failed |= payload[4..] != [0; 4];
            }
            WINDOW_UPDATE => self.takes_window(*id, payload),
            _ => panic!("a frame of another kind: {frame:?}"),
        }
        if matches!(*kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0 {
            self.takes_head();
        }
    }

    fn expect_open(&mut self, frame: &Frame) {
        let id = frame.stream;
        let begins = !self.is_server && frame.kind == HEADERS && id > self.last_id;
        if begins {
            assert!(id % 2 == 1, "a stream of the wrong side's: {frame:?}");
            assert!(!self.is_told_to_leave, "a stream is opened after goaway: {frame:?}");
            let begun = self.streams.range(..=self.last_id);
            let open = begun.filter(|(_, stream)| stream.is_open()).count();
            let most = self.sent.streams_max.most;
            assert!(open < most as usize, "more than {most} streams are open: {frame:?}");
            self.last_id = id;
            let stream = self.streams.entry(id).or_default();
            stream.allowance += i64::from(self.config.stream_window);
        }
        let stream = self.streams.get(&id).filter(|_| id <= self.last_id);
        let stream = stream.unwrap_or_else(|| panic!("nobody has opened its stream: {frame:?}"));
        assert!(stream.they != Half::Settled, "its stream was reset: {frame:?}");
        let has_ended = matches!(frame.kind, DATA | HEADERS) && stream.we == Half::Ended;
        assert!(!has_ended, "its stream has ended: {frame:?}");
        assert!(stream.we != Half::Reset, "it has reset that stream before: {frame:?}");
        assert!(
            !self.came.has_failed || !matches!(frame.kind, DATA | HEADERS),
            "its connection has ended: {frame:?}"
        );
    }

    fn takes_data(&mut self, id: u32, len: usize, ends: bool) {
        let stream = self.streams.get_mut(&id).expect("looked at before");
        assert!(stream.has_head, "data before the head");
        stream.we.end_if(ends);
        stream.spent += len as u64;
        self.sent.spent += len as u64;
        if len > 0 {
            let granted = u64::from(self.sent.window.most) + stream.granted;
            assert!(stream.spent <= granted, "{} of {granted} bytes on {id}", stream.spent);
            let (spent, granted) = (self.sent.spent, self.sent.granted);
            assert!(spent <= granted, "{spent} of {granted} bytes");
        }
    }

    fn takes_settings(&mut self, flags: u8, payload: &[u8]) {
        if flags & ACK == 0 {
            assert_eq!(payload.len() % 6, 0);
            return;
        }
        let settings = self.sent.settings.pop_front().expect("settings to acknowledge");
        for (_, bytes) in settings.iter().filter(|(name, _)| *name == 1) {
            self.came.fields.allow(*bytes as usize);
        }
    }

    fn takes_window(&mut self, id: u32, payload: &[u8]) {
        let more = u32::from_be_bytes(payload.try_into().expect("four bytes"));
        assert!(more > 0 && more <= ID_MAX, "a window grows by {more}");
        let (allowance, most) = match self.streams.get_mut(&id) {
            Some(stream) => (&mut stream.allowance, self.config.stream_window),
            None => (&mut self.sent.allowance, self.config.connection_window),
        };
        *allowance += i64::from(more);
        assert!(*allowance <= i64::from(most), "{allowance} of {most} bytes may come on {id}");
    }

    fn takes_head(&mut self) {
        let (id, ends, block) = self.came.block.take().expect("a head that has come");
        let fields = self.came.fields.read(&block);
        let stream = self.streams.get_mut(&id).expect("looked at before");
        stream.we.end_if(ends);
        let has_pseudo = fields.first().is_some_and(|(name, _)| name.starts_with(b":"));
        assert!(has_pseudo || stream.has_head && ends, "no head: {fields:?}");
        let is_interim = fields.iter().any(|(name, value)| name == b":status" && value[0] == b'1');
        stream.has_head |= has_pseudo && !is_interim;
        let number = fields.iter().find(|(name, _)| name == b"x-n").map(|(_, value)| value);
        let Some(number) = number else { return };
        let number = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
        let expected = number.and_then(|number: u64| self.expected.remove(&number));
        let plain = fields.into_iter().filter(|(name, _)| !name.starts_with(b":"));
        assert_eq!(expected, Some(plain.collect()), "another head than was sent");
    }
}

impl Stream {
    fn is_open(&self) -> bool {
        let is_reset = [self.we, self.they].iter().any(|half| half.is_reset());
        !is_reset && (self.we == Half::Open || self.they == Half::Open)
    }
}

impl Half {
    fn end_if(&mut self, ends: bool) {
        if ends && *self == Self::Open {
            *self = Self::Ended;
        }
    }

    const fn is_reset(self) -> bool {
        matches!(self, Self::Reset | Self::Settled)
    }
}

const WINDOW: u32 = 65_535;
const ID_MAX: u32 = (1 << 31) - 1;
