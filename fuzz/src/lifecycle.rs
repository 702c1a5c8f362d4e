//! The extension's machine under bytes.

use std::time::Duration;

use dispatch_model::Time;
use dispatch_model::lifecycle::{
    Ask, Config, Input, InvokeId, Lifecycle, LinkEnd, Output, Report, Timeout,
};

/// Bytes that choose how the extension behaves.
const HEAD: usize = 4;
/// Bytes of a step: what happens, of which kind, and two for how much.
const STEP: usize = 4;

/// Plays `bytes` to a lifecycle and checks after each step what it asked for and when it wants to
/// run next; at the end, that its last invoke returns.
///
/// # Panics
///
/// Something does not hold: a find.
pub fn lifecycle(bytes: &[u8]) {
    let Some((head, steps)) = bytes.split_first_chunk::<HEAD>() else { return };
    let mut play = Play::new(*head);
    for step in steps.as_chunks::<STEP>().0 {
        play.step(*step);
    }
    play.finish();
}

/// The world around the machine, as far as legal inputs need one.
struct Play {
    model: Lifecycle,
    now: Time,
    /// Lambda has been asked for an invoke.
    awaits: bool,
    exited: bool,
    invoke: Option<Open>,
    invokes: u64,
    link: Option<Link>,
    probing: bool,
    /// Whether the environment is stored, or about to be.
    stored: bool,
    hold_max: Duration,
    /// The app is gone, or the environment is to end: what was granted to the app is void.
    ends: bool,
}

/// An invoke that has not returned.
#[derive(Clone, Copy)]
struct Open {
    id: InvokeId,
    started: Time,
    requests: u64,
    /// Until when the app was granted time.
    held_until: Time,
    /// When its lease is over, as was promised when it connected.
    lease_end: Time,
}

/// A connection to the router, from the order to connect until nothing of it is left.
#[derive(Clone, Copy, Default)]
struct Link {
    attached: bool,
    in_flight: u32,
    goaway: bool,
    dropped: bool,
}

impl Play {
    fn new([flags, patience, lead, linger]: [u8; HEAD]) -> Self {
        let hold_max = Duration::from_secs(u64::from(flags / 8));
        let config = Config {
            async_init: flags % 2 == 0,
            app_patience: Duration::from_millis(u64::from(patience) * 100),
            lead: Duration::from_millis(u64::from(lead) * 200),
            invoke_fallback: Duration::from_secs(u64::from(flags) + 1),
            hold_max,
            invoke_max: Duration::from_secs(900),
            snap_start: flags % 4 >= 2,
            linger: (linger < 128).then(|| Duration::from_millis(u64::from(linger) * 50)),
        };
        let mut play = Self {
            model: Lifecycle::new(config, Time::ZERO),
            now: Time::ZERO,
            awaits: false,
            exited: false,
            invoke: None,
            invokes: 0,
            link: None,
            probing: false,
            stored: false,
            hold_max,
            ends: false,
        };
        play.drain();
        play
    }

    fn step(&mut self, [kind, what, a, b]: [u8; STEP]) {
        let much = u16::from_le_bytes([a, b]);
        match kind % 16 {
            0 | 1 => self.invoked(what, much),
            2 | 3 => self.attached(),
            4 => self.disconnected(link_end(what)),
            5 | 6 => self.request_started(what),
            7 | 8 => self.request_ended(what),
            9 => self.tell(Input::Heard),
            10 if self.probing || what >= 192 => self.tell(Input::AppReady),
            10 if what >= 128 => self.hold_asked(much),
            10 if what >= 64 => self.restored(),
            11 if what < 64 => self.tell(Input::AppExited),
            11 if what < 128 => {
                self.tell(Input::Shutdown { left: Duration::from_millis(much.into()) });
            }
            // A clock that jumped while the process did not run, by a minute or by months.
            11 => self.pass(Duration::from_secs(u64::from(much) * u64::from(what - 127)), false),
            12 | 13 => self.pass(Duration::from_millis(much.into()), true),
            14 => self.pass(Duration::from_millis(much.into()), false),
            _ => {
                let due = self.model.poll_timeout().map(|timeout| timeout.at);
                self.pass(due.map_or(Duration::ZERO, |at| at.saturating_since(self.now)), true);
            }
        }
    }

    fn invoked(&mut self, what: u8, much: u16) {
        if !self.awaits {
            return;
        }
        self.awaits = false;
        self.invokes += 1;
        let invoke = InvokeId(self.invokes);
        self.invoke = Some(Open {
            id: invoke,
            started: self.now,
            requests: 0,
            held_until: self.now,
            lease_end: self.now,
        });
        let ask = match what % 16 {
            0 => Ask::InitOnly,
            1 => Ask::Invalid,
            2 => Ask::Stale,
            4 => Ask::Foreign,
            // Some payloads come again, most do not.
            3 => Ask::Serve { fingerprint: u64::from(much % 4), sends_away: true },
            _ => Ask::Serve { fingerprint: 1_000 + self.invokes, sends_away: much & 1 == 0 },
        };
        let left = match what / 16 {
            0 => None,
            1 => Some(Duration::from_millis(u64::from(much) * 2_000)),
            2 => Some(Duration::from_nanos(much.into())),
            _ => Some(Duration::from_millis(u64::from(much) * 14)),
        };
        self.tell(Input::Invoked { invoke, ask, left });
    }

    /// Taken only while there is a link that has been attached and is not dropped.
    fn hold_asked(&mut self, seconds: u16) {
        let span = Duration::from_secs(seconds.into());
        let stale = self.model.stale_inputs();
        self.model.handle_input(self.now, Input::HoldAsked { span });
        if self.model.stale_inputs() == stale {
            assert!(self.link.is_some_and(|link| link.attached && !link.dropped));
            let until = self.now + span.min(self.hold_max);
            let invoke = self.invoke.as_mut().expect("a hold is an invoke's");
            invoke.held_until = invoke.held_until.max(until);
        }
        self.drain();
    }

    fn restored(&mut self) {
        if std::mem::take(&mut self.stored) {
            self.tell(Input::Restored);
        }
    }

    fn attached(&mut self) {
        if let Some(link) = self.link.as_mut().filter(|link| !link.attached) {
            link.attached = true;
            self.tell(Input::Attached);
        }
    }

    /// Every request on a link ends before it does.
    fn disconnected(&mut self, end: LinkEnd) {
        while self.link.is_some_and(|link| link.in_flight > 0) {
            self.request_ended(0);
        }
        if self.link.take().is_some() {
            self.tell(Input::Disconnected { end });
        }
    }

    /// At times without a link to come on: heard of too late, as races go.
    fn request_started(&mut self, what: u8) {
        if let Some(link) = self.link.as_mut().filter(|link| link.attached) {
            link.in_flight += 1;
        } else if what < 192 {
            return;
        }
        let stale = self.model.stale_inputs();
        self.model.handle_input(self.now, Input::RequestStarted);
        if self.model.stale_inputs() == stale {
            let invoke = self.invoke.as_mut().expect("a request is counted for an invoke");
            invoke.requests += 1;
        }
        self.drain();
    }

    fn request_ended(&mut self, what: u8) {
        if let Some(link) = self.link.as_mut().filter(|link| link.in_flight > 0) {
            link.in_flight -= 1;
        } else if what < 192 {
            return;
        }
        self.tell(Input::RequestEnded);
    }

    fn tell(&mut self, input: Input) {
        self.ends |= matches!(input, Input::AppExited | Input::Shutdown { .. });
        self.model.handle_input(self.now, input);
        self.drain();
    }

    /// Lets time pass for a driver that comes at every timer, or for one that is late for all.
    fn pass(&mut self, span: Duration, every_timer: bool) {
        let until = self.now + span;
        while every_timer
            && let Some(Timeout { at, .. }) =
                self.model.poll_timeout().filter(|due| due.at <= until)
        {
            self.now = at;
            self.model.handle_timeout(at);
            self.drain();
        }
        self.now = until;
        self.model.handle_timeout(until);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.model.poll_output() {
            assert!(!self.exited, "{output} after the exit");
            self.perform(output);
        }
        let timeout = self.model.poll_timeout();
        if let Some(timeout) = timeout {
            assert!(timeout.at > self.now, "{timeout:?} is due at {}", self.now);
        }
        if self.model.is_frozen() || self.exited || self.stored {
            assert_eq!(timeout, None, "nothing runs that could heed it");
            assert!(self.link.is_none(), "a link into a process that does not run");
        }
        assert_eq!(self.model.is_frozen(), self.awaits || self.stored, "frozen is to wait");
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::AwaitInvoke => {
                assert!(self.link.is_none() && self.invoke.is_none() && !self.awaits);
                self.awaits = true;
            }
            Output::AwaitRestore => {
                assert!(self.link.is_none() && self.invoke.is_none() && self.invokes == 0);
                assert!(!self.stored, "stored twice");
                self.stored = true;
            }
            Output::Connect { lease, .. } => {
                assert!(self.link.is_none() && !lease.is_zero());
                let invoke = self.invoke.as_mut().expect("only an invoke connects");
                invoke.lease_end = self.now + lease;
                self.link = Some(Link::default());
            }
            Output::Disconnect => {
                let link = self.link.as_mut().expect("only a link can be dropped");
                assert!(!link.dropped, "dropped twice");
                link.dropped = true;
            }
            Output::Exit { .. } => {
                assert!(self.link.is_none() && self.invoke.is_none());
                (self.exited, self.awaits, self.stored) = (true, false, false);
            }
            Output::Goaway => {
                let link = self.standing(output);
                assert!(!link.goaway, "goaway twice");
                link.goaway = true;
            }
            Output::Ping => drop(self.standing(output)),
            Output::ProbeApp => {
                assert!(!self.probing, "probed twice at once");
                self.probing = true;
            }
            Output::Return(report) => self.returned(&report),
            Output::StopProbing => {
                assert!(self.probing, "nobody probes");
                self.probing = false;
            }
        }
    }

    /// The link, of which `order` asks what only one can do that is attached and not dropped.
    fn standing(&mut self, order: Output) -> &mut Link {
        let standing = self.link.as_mut().filter(|link| link.attached && !link.dropped);
        standing.unwrap_or_else(|| panic!("{order} without a link"))
    }

    fn returned(&mut self, report: &Report) {
        let open = self.invoke.take().expect("only an invoke returns");
        assert!(self.link.is_none(), "{} returns before its link is gone", open.id);
        let kept = self.ends || self.now >= open.held_until.min(open.lease_end);
        assert!(kept, "{} returns at {}, held until {}", open.id, self.now, open.held_until);
        let took = self.now.saturating_since(open.started);
        assert_eq!(
            (report.invoke, report.requests, report.took),
            (open.id, open.requests, took),
            "how it went"
        );
    }

    /// A router that answers everything and sends nobody away: invokes end by their leases.
    fn finish(mut self) {
        self.attached();
        for _ in 0..200_000 {
            let link = self.link;
            let cannot_go_on = link.is_some_and(|link| {
                link.dropped || (link.goaway && link.in_flight == 0) || !link.attached
            });
            if cannot_go_on {
                self.disconnected(LinkEnd::Closed);
            } else if let Some(Timeout { at, .. }) = self.model.poll_timeout() {
                self.pass(at.saturating_since(self.now), true);
                if self.link.is_some() {
                    self.tell(Input::Heard);
                }
            } else {
                break;
            }
        }
        assert!(self.link.is_none() && self.invoke.is_none(), "an invoke never returned");
    }
}

fn link_end(what: u8) -> LinkEnd {
    match what % 5 {
        0 => LinkEnd::Closed,
        1 => LinkEnd::Lost,
        2 => LinkEnd::Refused,
        3 => LinkEnd::Unavailable,
        _ => LinkEnd::Unreachable,
    }
}
