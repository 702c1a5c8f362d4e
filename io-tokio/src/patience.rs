//! How long a client may keep a connection without asking for anything.
//!
//! A connection is *idle* until the first byte of a request, then its head is *coming*, then it is
//! *busy* until the response has been handed over. Idle and coming each have their limit; a busy
//! one is in the care of the exchange, but for one thing: a client that does not read, whatever it
//! is sent, for as long as a response may be silent, loses its connection. hyper has a single
//! timer for both, which would either cut idle connections under a load balancer's feet or let
//! heads trickle in for minutes.
//!
//! HTTP/2 connections are idle or busy: their heads come in frames that HTTP/2 itself bounds.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};

use crate::clock::{self, Moment};
use crate::net::Io;

/// The limits of a connection without a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For the next request to begin.
    pub(crate) idle: Duration,
    /// For a head that has begun to be complete.
    pub(crate) head: Duration,
    /// For the client to read some of what waits for it.
    pub(crate) read: Duration,
}

/// Counts the requests of a connection that are not done, and all that there ever were.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    busy: AtomicU32,
    begun: AtomicU32,
    /// A response that nothing but the connection's end can end was cut.
    cut: AtomicBool,
    /// Whether HTTP/2 is spoken.
    h2: AtomicBool,
    done: Mutex<Done>,
}

#[derive(Debug, Default)]
struct Done {
    /// When the last request was done, and its response on its way.
    last: Option<Moment>,
    /// Who wants to know when the next one is.
    waiting: Option<Waker>,
}

impl Activity {
    /// A request has begun; it is done when what this returns is dropped.
    pub(crate) fn begin(&self) -> Busy {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        Busy { activity: self.clone(), ends_with_connection: false }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.0.busy.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn begun(&self) -> u32 {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Whether its first bytes were those of HTTP/2.
    pub(crate) fn is_h2(&self) -> bool {
        self.0.h2.load(Ordering::Relaxed)
    }

    /// The rest of a response is on its way only now.
    fn unblocked(&self) {
        self.0.done().last = Some(clock::after(Duration::ZERO));
    }

    fn is_cut(&self) -> bool {
        self.0.cut.load(Ordering::Relaxed)
    }

    /// When it will have been idle for `limit`, if no request begins: since the last one was done,
    /// or from now on if there was none.
    fn idle_until(&self, limit: Duration) -> Moment {
        let last = self.0.done().last;
        last.and_then(|last| last.checked_add(limit)).unwrap_or_else(|| clock::after(limit))
    }

    /// Has `cx` woken when the next request is done.
    pub(crate) fn wake_when_done(&self, cx: &Context<'_>) {
        self.0.done().waiting = Some(cx.waker().clone());
    }
}

impl Counts {
    /// Nothing panics while it is held.
    fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is not done.
#[derive(Debug)]
pub(crate) struct Busy {
    activity: Activity,
    ends_with_connection: bool,
}

impl Busy {
    /// The end of its response is that of the connection: the client speaks HTTP/1.0, and was not
    /// told a length.
    pub(crate) const fn end_with_connection(&mut self) {
        self.ends_with_connection = true;
    }

    /// Its response is cut, which the client must be able to tell from its end.
    pub(crate) fn cut(&self) {
        if self.ends_with_connection {
            self.activity.0.cut.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let counts = &self.activity.0;
        let mut done = counts.done();
        done.last = Some(clock::after(Duration::ZERO));
        let waiting = done.waiting.take();
        drop(done);
        counts.busy.fetch_sub(1, Ordering::Relaxed);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

/// A connection that ends when its client takes too long.
#[derive(Debug)]
pub(crate) struct Patient<S: Io> {
    io: S,
    limits: Limits,
    activity: Activity,
    /// How many of its first bytes are those of HTTP/2; `None` once there was another.
    preface: Option<usize>,
    wait: Option<Wait>,
    /// Rings when the wait is over, or before; then it is set anew. Most waits are over long before
    /// their time, and cost no timer of their own. It runs while the connection is busy, too, for
    /// hyper, whose last read is still pending, does not ask again when a response has ended.
    alarm: Option<Pin<Box<Sleep>>>,
    /// Runs while the client does not read.
    blocked: Option<Pin<Box<Sleep>>>,
}

/// What a client without a request is waited for.
#[derive(Clone, Copy, Debug)]
struct Wait {
    /// Requests begun when it began: with the next one it is over.
    begun: u32,
    /// For the rest of a head, and not for a request to begin.
    for_head: bool,
    until: Moment,
}

impl<S: Io> Patient<S> {
    pub(crate) const fn new(io: S, limits: Limits, activity: Activity) -> Self {
        let (wait, alarm, blocked) = (None, None, None);
        Self { io, limits, activity, preface: Some(0), wait, alarm, blocked }
    }

    fn is_h2(&self) -> bool {
        self.preface == Some(PREFACE_BYTES)
    }

    /// Bytes came: is this the beginning of a head?
    fn note(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || self.activity.is_busy() {
            return;
        }
        if let Some(before @ 0..PREFACE_BYTES) = self.preface {
            let agrees = PREFACE.iter().skip(before).zip(bytes).all(|(one, other)| one == other);
            self.preface = agrees.then(|| PREFACE_BYTES.min(before + bytes.len()));
            if self.is_h2() {
                self.activity.0.h2.store(true, Ordering::Relaxed);
                // What was waited for, if these are not the first bytes, was a head of HTTP/1.
                self.wait = None;
            }
        }
        let begun = self.activity.begun();
        let is_coming = self.wait.is_some_and(|wait| wait.begun == begun && wait.for_head);
        if !(self.is_h2() || is_coming) {
            let until = clock::after(self.limits.head);
            self.wait = Some(Wait { begun, for_head: true, until });
        }
    }

    /// Nothing came: has the client's time run out?
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let until = self.awaited().map(|wait| wait.until);
        let idle = self.limits.idle;
        // To look again, if it is busy.
        let next = || until.unwrap_or_else(|| clock::after(idle));
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(next())));
        if let Some(until) = until.filter(|until| alarm.deadline() > *until) {
            alarm.as_mut().reset(until);
        }
        loop {
            ready!(alarm.as_mut().poll(cx));
            if until.is_some_and(|until| alarm.deadline() >= until) {
                return Poll::Ready(io::Error::from(io::ErrorKind::TimedOut));
            }
            alarm.as_mut().reset(next());
        }
    }

    /// What the client is waited for, unless it is the client that waits, or it has yet to read the
    /// end of a response.
    fn awaited(&mut self) -> Option<Wait> {
        if self.activity.is_busy() || self.blocked.is_some() {
            self.wait = None;
            return None;
        }
        let begun = self.activity.begun();
        let idle =
            || Wait { begun, for_head: false, until: self.activity.idle_until(self.limits.idle) };
        let wait = self.wait.filter(|wait| wait.begun == begun).unwrap_or_else(idle);
        Some(*self.wait.insert(wait))
    }

    /// Writes, unless the client has not read for too long.
    fn poll_written<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut polled = write(Pin::new(&mut self.io), cx);
        if polled.is_pending() {
            let Self { io, blocked, limits, .. } = self;
            let blocked = blocked.get_or_insert_with(|| {
                if let Some(tcp) = io.tcp() {
                    tcp.never_give_up();
                }
                Box::pin(tokio::time::sleep(limits.read))
            });
            ready!(blocked.as_mut().poll(cx));
            // It may have read less than what we are told of.
            if let Some(tcp) = io.tcp() {
                tcp.insist();
            }
            polled = write(Pin::new(&mut self.io), cx);
        }
        if polled.is_pending() {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut)));
        }
        if self.blocked.take().is_some() {
            self.activity.unblocked();
        }
        polled
    }
}

impl<S: Io> Drop for Patient<S> {
    fn drop(&mut self) {
        if self.activity.is_cut() {
            self.io.end_as_cut();
        }
    }
}

impl<S: Io> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buffer) {
            Poll::Pending => self.poll_limit(cx).map(Err),
            Poll::Ready(result) => {
                self.note(buffer.filled().get(before..).unwrap_or_default());
                Poll::Ready(result)
            }
        }
    }
}

impl<S: Io> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_written(cx, |io, cx| io.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_written(cx, |io, cx| io.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(cx, |io, cx| io.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// What begins HTTP/2, all of it: what only begins so is a head that has yet to come.
const PREFACE: &[u8; PREFACE_BYTES] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PREFACE_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::net::Tcp;

    const LIMITS: Limits = Limits {
        idle: Duration::from_secs(75),
        head: Duration::from_secs(10),
        read: Duration::from_secs(60),
    };

    /// What a read of one byte on the connection gives within `seconds`.
    async fn read(
        patient: &mut Patient<tokio::io::DuplexStream>,
        seconds: u64,
    ) -> Option<io::Result<u8>> {
        timeout(Duration::from_secs(seconds), patient.read_u8()).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connection_ends_at_the_idle_limit() {
        let (io, _client) = duplex(64);
        let mut patient = Patient::new(io, LIMITS, Activity::default());
        assert!(read(&mut patient, 74).await.is_none());
        let end = read(&mut patient, 2).await.unwrap();
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn head_that_trickles_in_ends_at_the_head_limit() {
        let (io, mut client) = duplex(64);
        let mut patient = Patient::new(io, LIMITS, Activity::default());
        for _ in 0..3 {
            client.write_all(b"G").await.unwrap();
            assert!(matches!(read(&mut patient, 1).await, Some(Ok(_))));
            sleep(Duration::from_secs(3)).await;
        }
        let end = read(&mut patient, 2).await.unwrap();
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn busy_connection_has_no_limit_and_starts_anew_after() {
        let (io, mut client) = duplex(64);
        let activity = Activity::default();
        let mut patient = Patient::new(io, LIMITS, activity.clone());
        client.write_all(b"G").await.unwrap();
        assert!(matches!(read(&mut patient, 1).await, Some(Ok(_))));
        let busy = activity.begin();
        assert!(read(&mut patient, 3_600).await.is_none());
        drop(busy);
        assert!(read(&mut patient, 74).await.is_none());
        assert!(read(&mut patient, 2).await.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn read_that_began_while_busy_ends_at_the_idle_limit_though_nobody_asks_again() {
        for busy_seconds in [0, 10, 200] {
            let (io, _client) = duplex(64);
            let activity = Activity::default();
            let mut patient = Patient::new(io, LIMITS, activity.clone());
            let busy = activity.begin();
            let reading = tokio::spawn(async move { patient.read_u8().await });
            sleep(Duration::from_secs(busy_seconds)).await;
            drop(busy);
            sleep(Duration::from_secs(74)).await;
            assert!(!reading.is_finished(), "busy for {busy_seconds} s");
            let end = timeout(Duration::from_secs(2), reading).await.expect("it ends").unwrap();
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connection_is_not_idle_while_its_client_reads_the_end_of_a_response() {
        let limits = Limits { idle: Duration::from_secs(5), ..LIMITS };
        let (io, mut client) = duplex(64);
        let activity = Activity::default();
        let patient = Patient::new(io, limits, activity.clone());
        let (mut reader, mut writer) = tokio::io::split(patient);
        drop(activity.begin());
        let writing = tokio::spawn(async move { writer.write_all(&[0; 128]).await });
        let reading = tokio::spawn(async move { reader.read_u8().await });
        sleep(Duration::from_secs(50)).await;
        client.read_exact(&mut [0; 128]).await.unwrap();
        writing.await.unwrap().unwrap();
        sleep(Duration::from_secs(4)).await;
        assert!(!reading.is_finished());
        let end = timeout(Duration::from_secs(2), reading).await.expect("it ends").unwrap();
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_stops_reading_loses_its_connection_and_a_slow_one_does_not() {
        let (io, mut client) = duplex(64);
        let activity = Activity::default();
        let mut patient = Patient::new(io, LIMITS, activity.clone());
        let _busy = activity.begin();
        let writing = tokio::spawn(async move { patient.write_all(&[0; 256]).await });
        for _ in 0..3 {
            sleep(Duration::from_secs(59)).await;
            client.read_exact(&mut [0; 32]).await.unwrap();
            assert!(!writing.is_finished());
        }
        sleep(Duration::from_secs(61)).await;
        let end = writing.await.unwrap();
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn reader_whose_window_closes_again_and_again_is_not_given_up_by_the_kernel() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(20_000).unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(socket.connect(address), listener.accept());
        let (mut client, stream) = (client.unwrap(), accepted.unwrap().0);
        // What is a minute otherwise.
        let minute = Some(Duration::from_millis(500));
        socket2::SockRef::from(&stream).set_tcp_user_timeout(minute).unwrap();
        let mut patient = Patient::new(Tcp::from(stream), LIMITS, Activity::default());
        let writing = tokio::spawn(async move { patient.write_all(&vec![0; 32 << 20]).await });
        for _ in 0..20 {
            sleep(Duration::from_millis(100)).await;
            client.read_exact(&mut [0; 5_000]).await.unwrap();
        }
        assert!(!writing.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn what_only_begins_like_http2_ends_at_the_head_limit() {
        for begin in ["P", "PRI ", "PRI /", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n"] {
            let (io, mut client) = duplex(64);
            let mut patient = Patient::new(io, LIMITS, Activity::default());
            client.write_all(begin.as_bytes()).await.unwrap();
            patient.read_exact(&mut vec![0; begin.len()]).await.unwrap();
            assert!(read(&mut patient, 9).await.is_none(), "{begin:?}");
            let end = read(&mut patient, 2).await.expect(begin);
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test]
    async fn http2_is_spoken_once_all_of_its_preface_has_come() {
        let (io, mut client) = duplex(64);
        let activity = Activity::default();
        let mut patient = Patient::new(io, LIMITS, activity.clone());
        for (piece, spoken) in
            [("P", false), ("RI * HTTP/2.0\r\n\r\nSM\r\n\r", false), ("\n", true)]
        {
            client.write_all(piece.as_bytes()).await.unwrap();
            patient.read_exact(&mut vec![0; piece.len()]).await.unwrap();
            assert_eq!(activity.is_h2(), spoken, "{piece:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn http2_connection_without_a_request_is_idle() {
        let pieces = ["P", "R", "I * HTTP/2.0\r\n\r\nSM", "\r\n\r\n"];
        for pieces in [&["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"][..], &pieces] {
            let (io, mut client) = duplex(64);
            let mut patient = Patient::new(io, LIMITS, Activity::default());
            for piece in pieces {
                client.write_all(piece.as_bytes()).await.unwrap();
                patient.read_exact(&mut vec![0; piece.len()]).await.unwrap();
                assert!(read(&mut patient, 1).await.is_none());
            }
            assert!(read(&mut patient, 73).await.is_none(), "{pieces:?}");
        }
    }
}
