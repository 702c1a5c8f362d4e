//! What nobody learns: no log has a secret, no client hears of an instance, no stranger's words
//! become a metric.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use emulator::{Event, model};
use io_tokio::attach::{self, AttachError, Hello};
use io_tokio::clock::Clock;
use io_tokio::payload::{InvokePayload, Plaintext, Secret};
use io_tokio::tls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Answer, Client};
use crate::stage::{ACCESS_KEY, Router, SECRET_KEY, Stage, until};

/// All invokes that passed a proxy between the router and Lambda.
#[derive(Clone, Default)]
struct Invokes(Arc<Mutex<Vec<u8>>>);

impl Invokes {
    /// Passes on what the router sends to Lambda at `endpoint`; gives its own.
    async fn record(&self, endpoint: &str) -> String {
        let target = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap();
        let seen = self.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&target).await.unwrap();
                tokio::spawn(seen.clone().carry(near, far));
            }
        });
        format!("http://{own}")
    }

    async fn carry(self, near: TcpStream, far: TcpStream) {
        let (mut near_read, mut near_write) = near.into_split();
        let (mut far_read, mut far_write) = far.into_split();
        let back = tokio::spawn(async move {
            tokio::io::copy(&mut far_read, &mut near_write).await.ok();
        });
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = near_read.read(&mut buffer).await {
            self.0.lock().unwrap().extend_from_slice(&buffer[..count]);
            if far_write.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        back.abort();
    }

    /// Each value of a field, as the payloads have it.
    fn all(&self, field: &str) -> Vec<String> {
        let bytes = self.0.lock().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let begins = format!("\"{field}\":\"");
        let values = text.split(&begins).skip(1);
        values.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    }

    /// The last payload.
    fn last(&self) -> InvokePayload {
        let bytes = self.0.lock().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let json = &text[text.rfind("{\"PoolId\"").unwrap()..];
        InvokePayload::from_json(&json.as_bytes()[..json.rfind('}').unwrap() + 1]).unwrap()
    }
}

/// A stage that logs everything there is on both sides, what the extensions say, and the invokes.
async fn traced(settings: &[&str]) -> (Stage, Arc<Mutex<String>>, Invokes) {
    let service = model::Config::default();
    let environment = [("LAMBDA_DISPATCH_LOG", "trace")];
    let nobody = Arc::new(|_: &Event| {});
    let (emulator, said) =
        Stage::lambda(service, Some(Stage::demo_app()), nobody, &environment).await;
    let invokes = Invokes::default();
    let endpoint = invokes.record(&emulator.endpoint()).await;
    let router = Router::start(&endpoint, settings).await;
    let stage = Stage { router, emulator, said: Arc::clone(&said) };
    (stage, said, invokes)
}

/// How 32 bytes may be printed by whoever does not care.
fn spellings(hex: &str) -> Vec<String> {
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap())
        .collect();
    let numbers = |bytes: &[u8]| {
        let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
        numbers.join(", ")
    };
    vec![
        hex.to_owned(),
        hex.to_uppercase(),
        // A part is enough to make the rest guessable.
        hex[..16].to_owned(),
        hex[48..].to_owned(),
        numbers(&bytes),
        numbers(hex.as_bytes()),
        format!("{:x?}", bytes),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_has_a_secret_whatever_happens_and_however_much_is_logged() {
    let (mut stage, said, invokes) = traced(&["log.filter=trace", "pool.linger=10m"]).await;
    assert_eq!(stage.router.get("/").await.status, 200);

    // What fails is logged too: a wrong token, a token of somebody else's instance, noise.
    let payload = invokes.last();
    let offer = payload.offer(Clock::start().wall(), Plaintext::Refused).unwrap();
    let right = invokes.all("Token").pop().unwrap();
    for token in [Secret::from_bytes([0x5e; 32]), offer.token] {
        let stream = TcpStream::connect((offer.host.as_str(), offer.port)).await.unwrap();
        let (mut stream, exporter) = tls::dial(stream, offer.pins.as_ref().unwrap()).await.unwrap();
        let hello = Hello {
            host: "router".to_owned(),
            instance: payload.id.clone(),
            slots: 1,
            lease: Duration::from_secs(60),
            cold: false,
        };
        // It has attached already: even its own token is of no use again.
        let refused = attach::request(&mut stream, &hello, &token, &exporter).await;
        assert!(matches!(refused, Err(AttachError::Refused { status: 401 })), "{refused:?}");
    }
    let stream = TcpStream::connect((offer.host.as_str(), offer.port)).await.unwrap();
    let (mut stream, _) = tls::dial(stream, offer.pins.as_ref().unwrap()).await.unwrap();
    stream.write_all(format!("GET /{right} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.ok();

    stage.router.signal(rustix::process::Signal::TERM);
    assert!(stage.router.end().await.success());
    let extensions = || said.lock().unwrap().clone();
    until("the instance has returned", async || extensions().contains("returned")).await;
    let logs = [("router", stage.router.log()), ("extension", extensions())];
    // What `release_max_level_debug` of `tracing` leaves.
    let most = if cfg!(debug_assertions) { "TRACE" } else { "DEBUG" };
    for (whose, log) in &logs {
        assert!(log.contains(most), "the {whose} logs everything");
        for secret in ["LD2 ", ACCESS_KEY, SECRET_KEY] {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "the {whose} logs credentials");
        }
    }
    let tokens = invokes.all("Token");
    assert!(!tokens.is_empty());
    for token in tokens.iter().chain([&"5e".repeat(32)]) {
        assert_eq!(token.len(), 64);
        for spelling in spellings(token) {
            for (whose, log) in &logs {
                let line = log.lines().find(|line| line.contains(&spelling));
                assert_eq!(line, None, "the {whose} logs a token");
            }
        }
    }
}

/// Everything that a client can make of a request to be told something.
async fn strange_answers(stage: &Stage, mark: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    for request in [
        format!("GET /{mark} HTTP/1.1\r\nHost: {mark}.example\r\n\r\n"),
        format!("{mark} / HTTP/1.1\r\nHost: test\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: test\r\nX-Lambda-Name: {mark}\r\nX-{mark}: 1\r\n\r\n"),
        format!("GET /?{mark} HTTP/1.1\r\nHost: test\r\nUser-Agent: {mark}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nX-Without-Host: {mark}\r\n\r\n"),
        format!("CONNECT {mark}:80 HTTP/1.1\r\nHost: {mark}:80\r\n\r\n"),
        format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", mark.repeat(4_000)),
        format!("GET {mark} HTTP/1.1\r\nHost: test\r\n\r\n"),
    ] {
        let mut client = Client::connect(stage.router.http).await;
        client.send(request).await.unwrap();
        answers.push(client.answer("GET").await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_hear_nothing_of_instances_functions_and_versions() {
    let (stage, _, invokes) = traced(&["pool.linger=10m", "timeouts.first_byte=1s"]).await;
    let mut answers = strange_answers(&stage, "strange").await;
    answers.push(stage.router.get("/bytes?n=10").await);
    answers.push(stage.router.get("/sleep?ms=5000").await);
    answers.push(stage.router.get("/_lambda_dispatch/attach").await);
    let mut hidden = invokes.all("Id");
    hidden.extend(invokes.all("Token"));
    hidden.extend(invokes.all("Url"));
    for word in ["lambda", "i0", env!("CARGO_PKG_VERSION"), "arn:", "x-amz", "hyper", "server:"] {
        hidden.push(word.to_owned());
    }
    assert!(hidden.len() >= 10, "{hidden:?}");
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert!(statuses.contains(&504) && statuses.contains(&400), "{statuses:?}");
    for answer in &answers {
        let mut shown = String::from_utf8_lossy(&answer.head).to_lowercase();
        if answer.status != 200 {
            // What the app says in a good answer is its own.
            shown.push_str(&answer.text().to_lowercase());
        }
        for word in &hidden {
            assert!(!shown.contains(word.as_str()), "{word} is in {shown}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_cannot_add_a_series_to_the_metrics() {
    let stage = Stage::demo(&["pool.linger=10m"]).await;
    let series = async || {
        let page = Client::connect(stage.router.admin).await.get("/metrics").await.unwrap().text();
        let names = page.lines().filter(|line| !line.starts_with('#'));
        let names = names.map(|line| line.rsplit_once(' ').unwrap().0.to_owned());
        names.collect::<Vec<_>>()
    };
    strange_answers(&stage, "first").await;
    let before = series().await;
    assert!(before.iter().any(|line| line.contains("status=\"400\"")), "{before:?}");
    for number in 0..20 {
        strange_answers(&stage, &format!("stranger{number}")).await;
    }
    let after = series().await;
    assert_eq!(after, before);
    assert!(!after.iter().any(|line| line.contains("first") && line.contains("example")));
}
