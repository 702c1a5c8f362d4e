//! Instances in raw bytes. Who may attach: only one that was invoked, once, on its own connection.
//! Who is kept: only one that answers.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure, which is what is wanted")]

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dispatch_model::{Config, Dispatcher, Gauges, Limits, Time};
use io_tokio::attach::{self, Hello};
use io_tokio::chance::Chance;
use io_tokio::clock::Clock;
use io_tokio::driver::{self, PoolSettings};
use io_tokio::instance_listener;
use io_tokio::invited::Invited;
use io_tokio::invoker::{Invoked, Invoker};
use io_tokio::observe::Observer;
use io_tokio::payload::{CheckedOffer, InvokePayload, Plaintext, Secret};
use io_tokio::pool::{Pool, Ticket};
use io_tokio::tls::{self, RouterIdentity};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Hands payloads to the test; the invocations last for ever.
struct Payloads(mpsc::UnboundedSender<InvokePayload>);

impl Invoker for Payloads {
    fn invoke(
        &self,
        _: &str,
        payload: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Invoked> + Send + '_>> {
        self.0.send(InvokePayload::from_json(&payload).unwrap()).ok();
        Box::pin(std::future::pending())
    }
}

struct Watch(watch::Sender<Gauges>);

impl Observer for Watch {
    fn turn(&mut self, _: Time, model: &Dispatcher) {
        self.0.send_replace(model.gauges());
    }
}

/// A router that has invoked an instance, which the test plays.
struct Router {
    address: std::net::SocketAddr,
    instance: String,
    offer: CheckedOffer,
    gauges: watch::Receiver<Gauges>,
    _pool: Pool,
    _waiting: Ticket,
}

impl Router {
    async fn start(is_tls: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let identity = is_tls.then(|| RouterIdentity::generate().unwrap());
        let settings = PoolSettings {
            name: "default".into(),
            function: "f".into(),
            callback_url: format!("{}://{address}", if is_tls { "https" } else { "http" }),
            identity: identity.clone(),
            seed: 1,
            chance: Chance::System,
        };
        let (payloads, mut invoked) = mpsc::unbounded_channel();
        let (turns, gauges) = watch::channel(Gauges::default());
        let limits = Limits {
            slots: SLOTS.into(),
            ping_interval: Duration::from_secs(1),
            ping_timeout: Duration::from_secs(2),
            ..Limits::default()
        };
        let config = Config::new(limits).unwrap();
        let invoker = Arc::new(Payloads(payloads));
        let (clock, invited) = (Clock::start(), Invited::default());
        let watch = Watch(turns);
        let pool = driver::start(config, settings, clock, invited.clone(), invoker, watch);
        tokio::spawn(instance_listener::serve(listener, identity, invited, None));
        let waiting = pool.arrive(0);
        let payload = invoked.recv().await.unwrap();
        let offer = payload.offer(Clock::start().wall(), Plaintext::Allowed).unwrap();
        Self { address, instance: payload.id, offer, gauges, _pool: pool, _waiting: waiting }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    fn hello(&self) -> Hello {
        Hello {
            host: "router".into(),
            instance: self.instance.clone(),
            slots: SLOTS,
            lease: Duration::from_secs(60),
            cold: true,
        }
    }

    /// Waits until an instance serves.
    async fn until_attached(&mut self) {
        self.until(|gauges| gauges.ready == 1).await;
    }

    async fn until(&mut self, state: impl Fn(&Gauges) -> bool) {
        let reached = timeout(PATIENCE, self.gauges.wait_for(state)).await.is_ok();
        assert!(reached, "it stays as it is: {:?}", self.gauges.borrow());
    }
}

/// The bytes of an attach.
async fn bytes(hello: &Hello, token: &Secret, exporter: &[u8]) -> Vec<u8> {
    let (mut near, mut far) = tokio::io::duplex(8 * 1024);
    let mut sent = Vec::new();
    // Nobody answers: what is wanted is what was sent.
    tokio::select! {
        biased;
        _ = attach::request(&mut near, hello, token, exporter) => {}
        _ = async {
            while !sent.ends_with(b"\r\n\r\n") {
                far.read_buf(&mut sent).await.unwrap();
            }
        } => {}
    }
    sent
}

/// Sends `bytes`; gives all that comes back until the router closes.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, bytes: &[u8]) -> String {
    // The router may have closed in the middle of it.
    stream.write_all(bytes).await.ok();
    stream.flush().await.ok();
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stays open: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

fn refusal(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn forged_and_wrong_claims_are_all_told_the_same_and_the_right_one_still_gets_in() {
    let mut router = Router::start(false).await;
    let own = router.hello();
    let wrong = Secret::from_bytes([7; 32]);
    let stranger = Hello { instance: "0".repeat(32), ..own.clone() };
    let another = Hello { instance: "1".to_owned(), ..own.clone() };
    let right = bytes(&own, &router.offer.token, &[]).await;
    let mut flipped = right.clone();
    let end = str::from_utf8(&right).unwrap().find("\r\nLambda-Dispatch-Slots").unwrap();
    flipped[end - 1] = if flipped[end - 1] == b'0' { b'1' } else { b'0' };
    let unauthorized = refusal("401 Unauthorized");
    for (what, bytes) in [
        ("a wrong token", bytes(&own, &wrong, &[]).await),
        ("an instance that never was", bytes(&stranger, &wrong, &[]).await),
        ("the right token for another instance", bytes(&another, &router.offer.token, &[]).await),
        ("an exporter where there is no TLS", bytes(&own, &router.offer.token, &[1; 32]).await),
        ("a digit that is wrong", flipped),
    ] {
        assert_eq!(answer(router.connect().await, &bytes).await, unauthorized, "{what}");
    }
    let greedy = Hello { slots: SLOTS + 1, ..own.clone() };
    let greedy = bytes(&greedy, &router.offer.token, &[]).await;
    assert_eq!(answer(router.connect().await, &greedy).await, refusal("409 Conflict"));

    let mut instance = router.connect().await;
    attach::request(&mut instance, &own, &router.offer.token, &[]).await.unwrap();
    router.until_attached().await;
    // Again, while it serves: the newcomer is refused, and who was there stays.
    assert_eq!(answer(router.connect().await, &right).await, unauthorized);
    assert_eq!(router.gauges.borrow().ready, 1);
}

#[tokio::test]
async fn what_was_overheard_on_one_connection_opens_no_other() {
    let mut router = Router::start(true).await;
    let pins = router.offer.pins.clone().unwrap();
    let (one, exporter) = tls::dial(router.connect().await, &pins).await.unwrap();
    let overheard = bytes(&router.hello(), &router.offer.token, &exporter).await;
    for _ in 0..2 {
        let (thief, _) = tls::dial(router.connect().await, &pins).await.unwrap();
        assert_eq!(answer(thief, &overheard).await, refusal("401 Unauthorized"));
    }
    let mut one = one;
    one.write_all(&overheard).await.unwrap();
    one.flush().await.unwrap();
    let mut status = [0; 12];
    one.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 101");
    router.until_attached().await;
}

#[tokio::test]
async fn what_is_no_attach_is_refused_without_a_body_or_a_hint() {
    let router = Router::start(false).await;
    let right = bytes(&router.hello(), &router.offer.token, &[]).await;
    let text = String::from_utf8(right).unwrap();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1).into_bytes()
    };
    let long = format!("Host: {}", "a".repeat(5_000));
    let many: String = (0..20).map(|number| format!("X-{number}: 1\r\n")).collect();
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"\0\0\0\0\0\0\0\0".to_vec(),
        with("Host: router", &long),
        with("Host: router\r\n", &many),
        with("Slots: 4", "Slots: 0"),
        with("Slots: 4", "Slots: 99999"),
        with("Lease-Ms: 60000", "Lease-Ms: 99999999999999999999"),
        with("Host: router", "Host : router"),
        with("Upgrade: lambda-dispatch/2", "Upgrade: websocket"),
        with("Authorization: LD2 ", "Authorization: Bearer "),
        with("\r\n\r\n", "\r\n\r\nearly"),
    ] {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let answer = answer(router.connect().await, &bytes).await;
        // A router that has not read all that came may have reset the connection with its answer.
        assert!(answer.is_empty() || answer == refusal("400 Bad Request"), "{shown}: {answer}");
    }
    assert_eq!(router.gauges.borrow().ready, 0);
}

#[tokio::test]
async fn who_says_nothing_is_gone_after_five_seconds_however_slowly_they_say_it() {
    let router = Router::start(false).await;
    let silent = answer(router.connect().await, b"");
    let slow = async {
        let mut stream = router.connect().await;
        for byte in b"GET /_lambda_dispatch/attach HTTP/1.1\r\nHost: ".iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (heard, slow) = tokio::join!(silent, timeout(PATIENCE, slow));
    assert_eq!(heard, "");
    assert!(slow.is_ok(), "a byte now and then keeps a connection open");
}

#[tokio::test]
async fn strangers_find_no_place_beyond_the_limit_and_leave_it_when_they_go() {
    let mut router = Router::start(false).await;
    let mut crowd = Vec::new();
    for _ in 0..1_024 {
        crowd.push(router.connect().await);
    }
    // One more is closed at once, long before the others have had their five seconds.
    let mut late = router.connect().await;
    let read = timeout(PATIENCE, late.read(&mut [0])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    drop(crowd);
    let attach = async {
        let hello = router.hello();
        loop {
            let mut instance = router.connect().await;
            let token = &router.offer.token;
            if attach::request(&mut instance, &hello, token, &[]).await.is_ok() {
                return instance;
            }
        }
    };
    let _instance = timeout(PATIENCE, attach).await.expect("there is a place again");
    router.until_attached().await;
}

/// As of a machine that was frozen, or whose network is gone: no end, no reset, just nothing.
#[tokio::test]
async fn instance_that_falls_silent_is_given_up_although_its_connection_stands() {
    let mut router = Router::start(false).await;
    let mut instance = router.connect().await;
    let hello = router.hello();
    attach::request(&mut instance, &hello, &router.offer.token, &[]).await.unwrap();
    router.until_attached().await;
    router.until(|gauges| gauges.ready == 0 && gauges.slots == 0).await;
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, instance.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "the router has not closed its end");
    assert!(rest.starts_with(b"PRI * HTTP/2.0"), "{rest:?}");
    let goaway = [&[0, 0, 8, 7][..], &[0; 13]].concat();
    assert!(rest.ends_with(&goaway), "it could not know whether the router has broken: {rest:?}");
}

const SLOTS: u16 = 4;
const PATIENCE: Duration = Duration::from_secs(60);
