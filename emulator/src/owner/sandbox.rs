//! One environment as the owner sees it: who waits on its APIs, what it holds, how it ended.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use io_tokio::clock::Clock;
use tokio::sync::oneshot;

use crate::call::{Calls, Delivery, ExtensionEvent, Refusal, Registration, answer};
use crate::config::{Config, Function};
use crate::event::ProcessEnd;
use crate::http_server::HttpServer;
use crate::model::{EnvironmentId, ExtensionId, InvokeId};
use crate::processes::LogTail;
use crate::random_id;
use crate::runtime_api;

use super::bodies;
use super::variables;

/// The outside of an environment: its APIs and its processes' fates.
#[derive(Debug)]
pub(super) struct Sandbox {
    /// The app's port.
    pub(super) port: u16,
    pub(super) log: LogTail,
    pub(super) variables: Vec<(OsString, OsString)>,
    /// What the runtime or an extension said when it could not initialise.
    pub(super) init_error: Option<Bytes>,
    _api: HttpServer,
    /// Processes that have not ended.
    running: usize,
    end: Option<ProcessEnd>,
    current: Option<(InvokeId, String)>,
    runtime: Option<oneshot::Sender<Result<Delivery, Refusal>>>,
    /// Waits to be restored from a snapshot.
    restore: Option<oneshot::Sender<Result<(), Refusal>>>,
    /// An invoke whose delivery was lost with the runtime's connection.
    undelivered: Option<Delivery>,
    extensions: Vec<Extension>,
}

#[derive(Debug)]
struct Extension {
    name: String,
    identifier: String,
    invoke: bool,
    shutdown: bool,
    next: Option<oneshot::Sender<Result<ExtensionEvent, Refusal>>>,
    /// Events that came while it was not asking.
    waiting: VecDeque<ExtensionEvent>,
}

impl Sandbox {
    /// Opens the environment's APIs. Nothing runs in it yet.
    pub(super) fn new(
        environment: EnvironmentId,
        port: u16,
        config: &Config,
        function: &Function,
        calls: &Calls,
    ) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let api = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        Ok(Self {
            port,
            log: LogTail::default(),
            variables: variables::build(config, function, api, port),
            init_error: None,
            _api: runtime_api::start(listener, environment, &function.name, calls),
            running: 0,
            end: None,
            current: None,
            runtime: None,
            restore: None,
            undelivered: None,
            extensions: Vec::new(),
        })
    }

    pub(super) const fn process_started(&mut self) {
        self.running += 1;
    }

    /// Notes that a process ended; says whether it was the last. The first end is the one that
    /// counts: others follow from it.
    pub(super) fn process_ended(&mut self, end: ProcessEnd) -> bool {
        self.running = self.running.saturating_sub(1);
        self.end.get_or_insert(end);
        self.is_empty()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.running == 0
    }

    pub(super) const fn end(&self) -> Option<ProcessEnd> {
        self.end
    }

    /// The invoke that it was given last, until that is billed.
    pub(super) fn invoke(&self) -> Option<InvokeId> {
        self.current.as_ref().map(|&(invoke, _)| invoke)
    }

    pub(super) fn request_id(&self) -> Option<&str> {
        self.current.as_ref().map(|(_, request_id)| request_id.as_str())
    }

    pub(super) fn invoke_over(&mut self) {
        self.current = None;
    }

    /// The runtime asks for its next invoke. Says whether that is news for the model: asking again
    /// for an invoke whose delivery was lost is not.
    pub(super) fn runtime_asks(
        &mut self,
        reply: oneshot::Sender<Result<Delivery, Refusal>>,
        owes_answer: bool,
    ) -> bool {
        match self.undelivered.take() {
            Some(delivery) => {
                self.hand_over(reply, delivery);
                false
            }
            None if owes_answer => {
                answer(reply, Err(Refusal::InvalidState));
                false
            }
            None => {
                self.runtime = Some(reply);
                true
            }
        }
    }

    pub(super) fn awaits_restore(&mut self, reply: oneshot::Sender<Result<(), Refusal>>) {
        self.restore = Some(reply);
    }

    /// Lets the runtime know that it is a copy now.
    pub(super) fn restore(&mut self) {
        if let Some(reply) = self.restore.take() {
            answer(reply, Ok(()));
        }
    }

    /// Gives an invoke to the runtime, and tells the extensions that want to know.
    pub(super) fn deliver(
        &mut self,
        invoke: InvokeId,
        request_id: &str,
        delivery: Delivery,
        event: &ExtensionEvent,
    ) {
        self.current = Some((invoke, request_id.to_owned()));
        for extension in self.extensions.iter_mut().filter(|extension| extension.invoke) {
            extension.tell(event.clone());
        }
        match self.runtime.take() {
            Some(reply) => self.hand_over(reply, delivery),
            None => self.undelivered = Some(delivery),
        }
    }

    fn hand_over(&mut self, reply: oneshot::Sender<Result<Delivery, Refusal>>, delivery: Delivery) {
        if let Err(Ok(delivery)) = reply.send(Ok(delivery)) {
            self.undelivered = Some(delivery);
        }
    }

    pub(super) fn register(
        &mut self,
        registration: Registration,
    ) -> Result<(ExtensionId, String), Refusal> {
        if self.extensions.len() == EXTENSIONS_MAX {
            return Err(Refusal::TooManyExtensions);
        }
        let id = ExtensionId::new(self.extensions.len() as u64);
        let identifier = random_id::uuid();
        self.extensions.push(Extension {
            name: registration.name,
            identifier: identifier.clone(),
            invoke: registration.invoke,
            shutdown: registration.shutdown,
            next: None,
            waiting: VecDeque::new(),
        });
        Ok((id, identifier))
    }

    /// An extension asks for its next event. Its number, if it now waits and the model must know.
    pub(super) fn extension_asks(
        &mut self,
        identifier: &str,
        reply: oneshot::Sender<Result<ExtensionEvent, Refusal>>,
    ) -> Option<ExtensionId> {
        let place = self.extensions.iter().position(|it| it.identifier == identifier);
        let Some(place) = place else {
            answer(reply, Err(Refusal::UnknownExtension));
            return None;
        };
        let extension = &mut self.extensions[place];
        extension.next = Some(reply);
        match extension.waiting.pop_front() {
            Some(event) => {
                extension.tell(event);
                None
            }
            None => Some(ExtensionId::new(place as u64)),
        }
    }

    /// The names under which extensions registered.
    pub(super) fn extension_names(&self) -> Vec<String> {
        self.extensions.iter().map(|extension| extension.name.clone()).collect()
    }

    /// Sends SHUTDOWN to the extensions that want to know; they have `left` to end.
    pub(super) fn tell_of_shutdown(&mut self, left: Duration) {
        let event = bodies::shutdown_event(epoch_ms_in(left));
        for extension in self.extensions.iter_mut().filter(|extension| extension.shutdown) {
            extension.tell(event.clone());
        }
    }
}

impl Extension {
    fn tell(&mut self, event: ExtensionEvent) {
        let lost = match self.next.take() {
            Some(next) => next.send(Ok(event)).err(),
            None => Some(Ok(event)),
        };
        if let Some(Ok(event)) = lost {
            self.waiting.push_front(event);
        }
    }
}

/// The wall clock `left` from now, in milliseconds since 1970: how Lambda states deadlines.
pub(super) fn epoch_ms_in(left: Duration) -> u64 {
    let now = Clock::start().wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from((now + left).as_millis()).unwrap_or(u64::MAX)
}

/// As on AWS.
const EXTENSIONS_MAX: usize = 10;
