//! Streams that can be stopped and broken from outside, and the router's listeners. Between hosts
//! they are turmoil's, within an environment memory.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};

use io_tokio::net::{Io, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::world::World;

/// Lets streams pass, stops them, or breaks them for good.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<(Flow, Vec<Weak<Waiting>>)>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Flow {
    #[default]
    Open,
    Stopped,
    Broken,
}

/// Who waits for a stream, to be woken when a gate moves.
#[derive(Debug, Default)]
struct Waiting(Mutex<[Option<Waker>; 2]>);

const READ: usize = 0;
const WRITE: usize = 1;

impl Waiting {
    fn wait(&self, side: usize, cx: &Context<'_>) {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !wakers[side].as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            wakers[side] = Some(cx.waker().clone());
        }
    }

    fn wake(&self) {
        let wakers = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Gate {
    /// Nothing passes until the gate is opened again.
    pub(super) fn stop(&self) {
        self.change(Flow::Stopped);
    }

    pub(super) fn open(&self) {
        self.change(Flow::Open);
    }

    /// Every stream that passes through here is at its end, now and later.
    pub(super) fn smash(&self) {
        self.change(Flow::Broken);
    }

    fn change(&self, flow: Flow) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 == Flow::Broken {
            return;
        }
        state.0 = flow;
        state.1.retain(|waiting| waiting.strong_count() > 0);
        let waiting = state.1.clone();
        drop(state);
        waiting.iter().filter_map(Weak::upgrade).for_each(|waiting| waiting.wake());
    }

    fn flow(&self) -> Flow {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn watch(&self, waiting: &Arc<Waiting>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.1.len() > 64 {
            state.1.retain(|waiting| waiting.strong_count() > 0);
        }
        state.1.push(Arc::downgrade(waiting));
    }
}

/// One connection between an instance and the router.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// At the instance's end.
    pub(super) near: Arc<Gate>,
    /// At the router's.
    pub(super) far: Arc<Gate>,
    /// The instance's end is open.
    is_open: AtomicBool,
    /// After how many more bytes of the instance's the link breaks; 0 is never.
    cut_after: AtomicU64,
    /// Where the instance is; known once its dialling is done.
    zone: OnceLock<u32>,
}

impl Link {
    /// Its instance is in this zone.
    pub(super) fn in_zone(&self, zone: u32) {
        self.zone.set(zone).ok();
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Breaks it after that many more bytes from the instance, in the middle of whatever they are.
    pub(super) fn cut_after(&self, bytes: u64) {
        self.cut_after.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn smash(&self) {
        self.near.smash();
        self.far.smash();
    }
}

/// What a stream is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// Nothing that anybody watches.
    Plain,
    /// An instance's end of its link to the router.
    Near { link: Arc<Link>, world: Arc<World> },
    /// The router's.
    Far { link: Arc<Link>, world: Arc<World> },
    /// An extension's connection to its app.
    ToApp(Arc<AtomicU64>),
}

/// A stream behind gates.
pub(super) struct Wire {
    io: Option<Box<dyn Stream>>,
    gates: Vec<Arc<Gate>>,
    waiting: Arc<Waiting>,
    purpose: Purpose,
    /// Bytes that it sent were lost: nothing that it sends arrives any more, as TCP has it.
    hole: bool,
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Wire {
    pub(super) fn new<S: Io>(io: S, gates: Vec<Arc<Gate>>, purpose: Purpose) -> Self {
        let waiting = Arc::<Waiting>::default();
        gates.iter().for_each(|gate| gate.watch(&waiting));
        match &purpose {
            Purpose::Near { link, .. } => link.is_open.store(true, Ordering::Relaxed),
            Purpose::ToApp(count) => {
                count.fetch_add(1, Ordering::Relaxed);
            }
            Purpose::Plain | Purpose::Far { .. } => {}
        }
        Self { io: Some(Box::new(io)), gates, waiting, purpose, hole: false }
    }

    /// The stream beneath, if the gates let something pass.
    fn pass(&mut self, side: usize, cx: &Context<'_>) -> Poll<io::Result<&mut Box<dyn Stream>>> {
        let mut stopped = false;
        for gate in &self.gates {
            match gate.flow() {
                Flow::Open => {}
                Flow::Stopped => stopped = true,
                Flow::Broken => {
                    self.close();
                    return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
                }
            }
        }
        self.waiting.wait(side, cx);
        if stopped {
            return Poll::Pending;
        }
        match &mut self.io {
            Some(io) => Poll::Ready(Ok(io)),
            None => Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
        }
    }

    fn close(&mut self) {
        self.note_loss();
        let Some(io) = self.io.take() else { return };
        match &self.purpose {
            Purpose::Near { link, world } => {
                link.is_open.store(false, Ordering::Relaxed);
                if self.hole {
                    world.lose(io);
                }
            }
            Purpose::Far { world, .. } if self.hole => world.lose(io),
            Purpose::ToApp(count) => {
                count.fetch_sub(1, Ordering::Relaxed);
            }
            Purpose::Plain | Purpose::Far { .. } => {}
        }
    }

    /// Whether what is sent now, or its end, is lost.
    fn note_loss(&mut self) -> bool {
        let lost = self.io.is_some()
            && match &self.purpose {
                Purpose::Near { link, world } => world.loses(link.zone.get(), true),
                Purpose::Far { link, world } => world.loses(link.zone.get(), false),
                Purpose::Plain | Purpose::ToApp(_) => false,
            };
        self.hole |= lost;
        self.hole
    }

    /// How many of `bytes` may be written before the link breaks.
    fn allowed(&self, bytes: usize) -> usize {
        let Purpose::Near { link, .. } = &self.purpose else { return bytes };
        match link.cut_after.load(Ordering::Relaxed) {
            0 => bytes,
            left => bytes.min(usize::try_from(left).unwrap_or(usize::MAX)),
        }
    }

    fn wrote(&self, bytes: usize) {
        match &self.purpose {
            Purpose::Near { link, .. } => {
                let left = link.cut_after.load(Ordering::Relaxed);
                if left > 0 {
                    let left = left.saturating_sub(bytes as u64);
                    link.cut_after.store(left, Ordering::Relaxed);
                    if left == 0 {
                        link.near.smash();
                    }
                }
            }
            Purpose::Plain | Purpose::Far { .. } | Purpose::ToApp(_) => {}
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.close();
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let io = ready!(self.pass(READ, cx))?;
        Pin::new(io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let allowed = self.allowed(buf.len());
        ready!(self.pass(WRITE, cx))?;
        if self.note_loss() {
            return Poll::Ready(Ok(buf.len()));
        }
        let io = ready!(self.pass(WRITE, cx))?;
        let written = ready!(Pin::new(io).poll_write(cx, &buf[..allowed]))?;
        self.wrote(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let io = ready!(self.pass(WRITE, cx))?;
        Pin::new(io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.pass(WRITE, cx))?;
        if self.note_loss() {
            return Poll::Ready(Ok(()));
        }
        let io = ready!(self.pass(WRITE, cx))?;
        Pin::new(io).poll_shutdown(cx)
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("open", &self.io.is_some()).finish_non_exhaustive()
    }
}

/// Turmoil's listener as the router is given it.
pub(super) struct Door {
    listener: turmoil::net::TcpListener,
    /// All that comes in passes here.
    gate: Arc<Gate>,
    /// For instances: their links are watched.
    instances: Option<Arc<World>>,
}

impl Door {
    pub(super) async fn open(
        port: u16,
        gate: Arc<Gate>,
        instances: Option<Arc<World>>,
    ) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        Ok(Self { listener: turmoil::net::TcpListener::bind(address).await?, gate, instances })
    }
}

impl Listener for Door {
    type Io = Wire;

    async fn accept(&mut self) -> io::Result<(Wire, SocketAddr)> {
        let (stream, peer) = self.listener.accept().await?;
        let Some(world) = &self.instances else {
            let gates = vec![Arc::clone(&self.gate)];
            return Ok((Wire::new(stream, gates, Purpose::Plain), peer));
        };
        let link = Arc::<Link>::default();
        world.state().links.insert(peer, Arc::clone(&link));
        let gates = vec![Arc::clone(&self.gate), Arc::clone(&link.far)];
        Ok((Wire::new(stream, gates, Purpose::Far { link, world: Arc::clone(world) }), peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
