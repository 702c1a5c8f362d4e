//! What the peer's frames do to a connection.
//!
//! A frame that breaks the rules of one stream resets that stream; one that leaves in doubt where
//! the connection is at ends it. Frames on streams that have ended say nothing: the peer may have
//! sent them before it knew.

use bytes::Bytes;
use h2::Reason;
use http::StatusCode;

use super::frame::{self, FrameHead};
use super::head::Head;
use super::state::State;
use super::stream::{End, Stream, wake};
use super::{By, Error, Side};

/// Why a connection cannot go on.
pub(super) type Received = Result<(), Reason>;

/// Whom a frame is for.
enum Place {
    At(usize),
    /// A stream that has ended, or that we have said we will not look at.
    Over,
    /// A stream that nobody has opened.
    Nowhere,
}

impl State {
    fn place(&self, id: u32) -> Place {
        if let Some(key) = self.open.get(&id) {
            return Place::At(*key);
        }
        let is_of_client = id % 2 == 1;
        let is_known = is_of_client && id <= self.last_id;
        let is_ignored = self.side == Side::Server && is_of_client && self.leaves;
        if is_known || is_ignored { Place::Over } else { Place::Nowhere }
    }

    /// `data` came in a frame that takes `bytes` of the windows.
    pub(super) fn on_data(&mut self, id: u32, data: Bytes, bytes: usize, ends: bool) -> Received {
        if !self.window.take(bytes) {
            return Err(Reason::FLOW_CONTROL_ERROR);
        }
        let key = match self.place(id) {
            Place::At(key) => key,
            Place::Over => {
                self.free_shared(bytes);
                return Ok(());
            }
            Place::Nowhere => return Err(Reason::PROTOCOL_ERROR),
        };
        let incoming = &mut self.streams[key].incoming;
        let problem = if incoming.has_ended {
            Some(Reason::STREAM_CLOSED)
        } else if !incoming.window.take(bytes) {
            Some(Reason::FLOW_CONTROL_ERROR)
        } else {
            let left = incoming.length_left;
            let left = left.map(|left| left.checked_sub(data.len() as u64));
            incoming.length_left = left.flatten();
            let is_wrong = left.is_some_and(|left| left.is_none_or(|left| ends && left > 0));
            (!incoming.is_begun || is_wrong).then_some(Reason::PROTOCOL_ERROR)
        };
        if let Some(reason) = problem {
            self.free_shared(bytes);
            self.reset(key, reason);
            return Ok(());
        }
        incoming.has_ended = ends;
        let kept = if incoming.is_wanted { data.len() } else { 0 };
        if kept > 0 {
            incoming.push(data);
        }
        if kept > 0 || ends {
            wake(&mut incoming.waker);
        }
        if incoming.is_wanted {
            // Padding, which nobody reads.
            self.free(key, bytes - kept);
        } else {
            self.free_shared(bytes);
        }
        self.settle(key);
        Ok(())
    }

    pub(super) fn on_head(&mut self, id: u32, head: Head, ends: bool) -> Received {
        match self.place(id) {
            Place::At(key) => self.on_head_of(key, head, ends),
            Place::Over => {}
            Place::Nowhere if self.side == Side::Server && id % 2 == 1 => {
                self.last_id = id;
                self.on_request(id, head, ends);
            }
            Place::Nowhere => return Err(Reason::PROTOCOL_ERROR),
        }
        Ok(())
    }

    fn on_request(&mut self, id: u32, head: Head, ends: bool) {
        if self.open.len() >= self.config.streams_max as usize {
            return self.put_reset(id, Reason::REFUSED_STREAM);
        }
        if head.is_too_long {
            return self.refuse_long(id, ends);
        }
        let length = head.content_length;
        let is_wrong = ends && length.is_some_and(|length| length > 0);
        let Some(request) = head.into_request().filter(|_| !is_wrong) else {
            return self.put_reset(id, Reason::PROTOCOL_ERROR);
        };
        let mut stream = Stream::new(id, self.config.stream_window, self.peer.window);
        stream.is_counted = true;
        stream.incoming.is_begun = true;
        stream.incoming.has_ended = ends;
        stream.incoming.length_left = length;
        let key = self.streams.insert(stream);
        self.open.insert(id, key);
        self.arrived.push_back((key, request));
    }

    fn on_head_of(&mut self, key: usize, head: Head, ends: bool) {
        let side = self.side;
        let incoming = &mut self.streams[key].incoming;
        let is_fine = if incoming.has_ended {
            return self.reset(key, Reason::STREAM_CLOSED);
        } else if head.is_too_long {
            false
        } else if incoming.is_begun {
            let is_whole = incoming.length_left.is_none_or(|left| left == 0);
            let is_fine = ends && head.is_trailers() && is_whole;
            incoming.has_ended = is_fine;
            if incoming.is_wanted && is_fine {
                incoming.trailers = Some(Box::new(head.headers));
            }
            is_fine
        } else if side == Side::Client
            && let Some(status) = head.status()
            // HTTP/2 has no 101 (RFC 9113, 8.6), which a client of HTTP/1.1 would believe.
            && status != StatusCode::SWITCHING_PROTOCOLS
        {
            if status.is_informational() {
                // More would be a flood; whoever listens stops sooner.
                if incoming.interims.len() < INTERIMS_MAX {
                    incoming.interims.push_back(head.into_response(status));
                }
                !ends
            } else {
                let length = head.content_length;
                incoming.is_begun = true;
                incoming.has_ended = ends;
                // Such a response declares the length of another, or none.
                let has_none = incoming.is_headless || matches!(status.as_u16(), 204 | 304);
                let is_fine = has_none || !ends || length.is_none_or(|length| length == 0);
                incoming.length_left =
                    if incoming.is_headless { Some(0) } else { length.filter(|_| !has_none) };
                if is_fine {
                    incoming.head = Some(Box::new(head.into_response(status)));
                }
                is_fine
            }
        } else {
            false
        };
        if !is_fine {
            incoming.has_ended = false;
            return self.reset(key, Reason::PROTOCOL_ERROR);
        }
        wake(&mut incoming.waker);
        self.settle(key);
    }

    pub(super) fn on_control(&mut self, head: FrameHead, payload: &[u8]) -> Received {
        match head.kind {
            frame::RST_STREAM => self.on_reset(head.stream, number(payload)?.into()),
            frame::SETTINGS if head.stream == 0 => self.on_settings(head, payload),
            frame::PING if head.stream == 0 => self.on_ping(head, payload),
            frame::GOAWAY if head.stream == 0 => self.on_goaway(payload),
            frame::WINDOW_UPDATE => self.on_window_update(head.stream, number(payload)?),
            frame::PRIORITY => Ok(()),
            frame::SETTINGS | frame::PING | frame::GOAWAY | frame::PUSH_PROMISE => {
                Err(Reason::PROTOCOL_ERROR)
            }
            // Those that we do not know are for others.
            _ => Ok(()),
        }
    }

    fn on_reset(&mut self, id: u32, reason: Reason) -> Received {
        match self.place(id) {
            Place::At(key) => {
                let stream = &self.streams[key];
                let is_untaken = stream.handles == 0 && stream.outgoing.end == End::Open;
                if self.side == Side::Server && is_untaken {
                    // Asked for and given up before we had looked: more of that than of anything
                    // else is an attack.
                    self.hasty_resets += 1;
                    if self.hasty_resets > HASTY_RESETS_MAX {
                        return Err(Reason::ENHANCE_YOUR_CALM);
                    }
                }
                self.fail(key, Error::Reset { reason, by: By::Peer });
                Ok(())
            }
            Place::Over => Ok(()),
            Place::Nowhere => Err(Reason::PROTOCOL_ERROR),
        }
    }

    fn on_settings(&mut self, head: FrameHead, payload: &[u8]) -> Received {
        if head.has(frame::ACK) {
            return if payload.is_empty() { Ok(()) } else { Err(Reason::FRAME_SIZE_ERROR) };
        }
        let (settings, []) = payload.as_chunks::<6>() else {
            return Err(Reason::FRAME_SIZE_ERROR);
        };
        for [a, b, value @ ..] in settings {
            let value = u32::from_be_bytes(*value);
            match u16::from_be_bytes([*a, *b]) {
                frame::HEADER_TABLE_SIZE => self.encoder.resize(value as usize),
                frame::ENABLE_PUSH if value > 1 || value == 1 && self.side == Side::Client => {
                    return Err(Reason::PROTOCOL_ERROR);
                }
                frame::ENABLE_CONNECT_PROTOCOL if value > 1 => {
                    return Err(Reason::PROTOCOL_ERROR);
                }
                frame::MAX_CONCURRENT_STREAMS => self.peer.streams = value as usize,
                frame::INITIAL_WINDOW_SIZE => self.set_peer_window(value)?,
                frame::MAX_FRAME_SIZE => {
                    let bytes = value as usize;
                    if !(frame::FRAME_BYTES..=frame::FRAME_BYTES_MAX as usize).contains(&bytes) {
                        return Err(Reason::PROTOCOL_ERROR);
                    }
                    self.peer.frame_bytes = bytes;
                }
                _ => {}
            }
        }
        self.put(frame::SETTINGS, frame::ACK, 0, &[]);
        self.begin_waiting();
        Ok(())
    }

    fn set_peer_window(&mut self, bytes: u32) -> Received {
        if bytes > frame::ID_MAX {
            return Err(Reason::FLOW_CONTROL_ERROR);
        }
        let change = i64::from(bytes) - i64::from(self.peer.window);
        self.peer.window = bytes;
        for key in self.running() {
            let stream = &mut self.streams[key];
            stream.outgoing.window += change;
            if stream.outgoing.window > i64::from(frame::ID_MAX) {
                return Err(Reason::FLOW_CONTROL_ERROR);
            }
            wake(&mut stream.outgoing.waker);
            self.send_backlog(key);
        }
        Ok(())
    }

    fn on_window_update(&mut self, id: u32, more: u32) -> Received {
        let more = i64::from(more & frame::ID_MAX);
        if id == 0 {
            if more == 0 {
                return Err(Reason::PROTOCOL_ERROR);
            }
            self.send_window += more;
            if self.send_window > i64::from(frame::ID_MAX) {
                return Err(Reason::FLOW_CONTROL_ERROR);
            }
            self.go_on();
            return Ok(());
        }
        match self.place(id) {
            Place::At(key) => {
                let outgoing = &mut self.streams[key].outgoing;
                outgoing.window += more;
                if more == 0 {
                    self.reset(key, Reason::PROTOCOL_ERROR);
                } else if outgoing.window > i64::from(frame::ID_MAX) {
                    self.reset(key, Reason::FLOW_CONTROL_ERROR);
                } else {
                    wake(&mut outgoing.waker);
                    self.send_backlog(key);
                }
                Ok(())
            }
            Place::Over => Ok(()),
            Place::Nowhere => Err(Reason::PROTOCOL_ERROR),
        }
    }

    fn on_ping(&mut self, head: FrameHead, payload: &[u8]) -> Received {
        if payload.len() != 8 {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        if !head.has(frame::ACK) {
            self.put(frame::PING, frame::ACK, 0, payload);
        } else if self.ping.is_sent && payload == PING {
            self.ping.is_answered = true;
            wake(&mut self.ping.waker);
        }
        Ok(())
    }

    fn on_goaway(&mut self, payload: &[u8]) -> Received {
        let (Some(last), Some(reason)) = (payload.first_chunk(), payload.get(4..8)) else {
            return Err(Reason::FRAME_SIZE_ERROR);
        };
        let last = u32::from_be_bytes(*last) & frame::ID_MAX;
        let reason = Reason::from(number(reason)?);
        self.is_told_to_leave = true;
        if self.side == Side::Client {
            for key in self.running() {
                let id = self.streams[key].id;
                if id == 0 || id > last {
                    self.fail(key, Error::GoAway { reason, by: By::Peer });
                }
            }
        }
        Ok(())
    }
}

fn number(payload: &[u8]) -> Result<u32, Reason> {
    payload.try_into().map(u32::from_be_bytes).map_err(|_| Reason::FRAME_SIZE_ERROR)
}

/// What our own pings carry.
pub(super) const PING: &[u8; 8] = b"dispatch";
const INTERIMS_MAX: usize = 64;
const HASTY_RESETS_MAX: u32 = 10_000;
