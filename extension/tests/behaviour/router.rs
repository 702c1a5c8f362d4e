//! A stand-in for the router: accepts an instance and opens streams on it.

use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use http_body_util::BodyExt;
use io_tokio::attach::{self, HelloClaim, Refusal};
use io_tokio::clock::Clock;
use io_tokio::net::Io;
use io_tokio::payload::{AttachOffer, InvokePayload, Secret};
use io_tokio::tls::RouterIdentity;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::h2_body::Received;
use crate::stage::soon;

pub(crate) struct Router {
    listener: TcpListener,
    pub(crate) identity: RouterIdentity,
    token: Secret,
    pub(crate) tls: bool,
    count: u32,
}

/// An attached instance.
pub(crate) struct Link {
    pub(crate) claim: HelloClaim,
    send: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Router {
    pub(crate) async fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            identity: RouterIdentity::generate().unwrap(),
            token: Secret::from_bytes([7; 32]),
            tls: true,
            count: 0,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// A payload for a new instance.
    pub(crate) fn payload(&mut self) -> InvokePayload {
        self.count += 1;
        let scheme = if self.tls { "https" } else { "http" };
        let now = Clock::start().wall();
        let expires_at = now + Duration::from_secs(60);
        let expires_at_ms = expires_at.duration_since(UNIX_EPOCH).unwrap().as_millis();
        let offer = AttachOffer {
            url: format!("{scheme}://{}", self.address()),
            token: self.token.clone(),
            pins: self.identity.pins(),
            expires_at_ms: u64::try_from(expires_at_ms).unwrap(),
        };
        InvokePayload::serve("default", format!("i-{}", self.count), 10, offer, now)
    }

    /// Accepts the instance that was invoked last.
    pub(crate) async fn accept(&self) -> Link {
        let accepting = async {
            let (stream, _) = self.listener.accept().await.unwrap();
            if self.tls {
                let (stream, exporter) = self.identity.accept(stream).await.unwrap();
                self.admit(stream, &exporter).await
            } else {
                self.admit(stream, &[]).await
            }
        };
        soon("the instance attaches", accepting).await
    }

    async fn admit<S: Io>(&self, mut stream: S, exporter: &[u8]) -> Link {
        let claim = attach::read(&mut stream).await.unwrap();
        assert_eq!(claim.instance, format!("i-{}", self.count));
        assert!(claim.verify(&self.token, exporter), "the token proves the instance");
        attach::accept(&mut stream).await.unwrap();
        let (send, connection) = h2::client::Builder::new()
            .initial_max_send_streams(usize::from(claim.slots))
            .max_concurrent_reset_streams(1000)
            .handshake(stream)
            .await
            .unwrap();
        Link { claim, send, connection: tokio::spawn(connection) }
    }

    /// Turns the next one who attaches away.
    pub(crate) async fn refuse(&self, refusal: Refusal) {
        let refusing = async {
            let (stream, _) = self.listener.accept().await.unwrap();
            let (mut stream, _) = self.identity.accept(stream).await.unwrap();
            attach::read(&mut stream).await.unwrap();
            attach::refuse(&mut stream, refusal).await.unwrap();
        };
        soon("the instance asks", refusing).await;
    }

    /// Counts who connects, and lets nobody in.
    pub(crate) async fn count_handshakes_that_fail(&self, number: usize) {
        for _ in 0..number {
            let (stream, _) = soon("the instance connects", self.listener.accept()).await.unwrap();
            assert!(self.identity.accept(stream).await.is_err());
        }
    }
}

impl Link {
    /// Opens a stream whose body is still to come.
    pub(crate) async fn open(
        &mut self,
        request: Request<()>,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let send = self.send.clone();
        self.send = soon("the link takes a stream", send.ready()).await.unwrap();
        self.send.send_request(request, false).unwrap()
    }

    /// Sends a request with a whole body.
    pub(crate) async fn send(&mut self, request: Request<&'static str>) -> ResponseFuture {
        let (head, body) = request.into_parts();
        let send = self.send.clone();
        self.send = soon("the link takes a stream", send.ready()).await.unwrap();
        let request = Request::from_parts(head, ());
        let (response, mut stream) = self.send.send_request(request, body.is_empty()).unwrap();
        if !body.is_empty() {
            stream.send_data(Bytes::from(body), true).unwrap();
        }
        response
    }

    /// Sends a request without a body, unless the link takes no more.
    pub(crate) async fn try_send(
        &mut self,
        request: Request<()>,
    ) -> Result<ResponseFuture, h2::Error> {
        self.send = self.send.clone().ready().await?;
        self.send.send_request(request, true).map(|(response, _)| response)
    }

    /// Waits until the instance takes no more. As h2's client takes the goaway to heart, the next
    /// stream fails then, here or on the other side.
    pub(crate) async fn until_goaway(&mut self) {
        let refused = async {
            loop {
                let request = Request::get("https://a/").body(()).unwrap();
                match self.try_send(request).await {
                    Ok(response) => drop(response),
                    Err(_) => return,
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        soon("the instance takes no more", refused).await;
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Response<RecvStream>, h2::Error> {
        let request = Request::get(format!("https://example.com{path}")).body("").unwrap();
        let response = self.send(request).await;
        soon("an answer comes", response).await
    }

    /// A whole answer to `GET path`, as status and text.
    pub(crate) async fn text(&mut self, path: &str) -> (u16, String) {
        let response = self.get(path).await.unwrap();
        (response.status().as_u16(), text(response.into_body()).await.unwrap())
    }

    /// Closes the link as a router does that has no more work, and waits for the instance's close.
    pub(crate) async fn close(self) {
        drop(self.send);
        soon("the link closes", self.connection).await.unwrap().unwrap();
    }

    /// Breaks the link.
    pub(crate) fn break_off(self) {
        self.connection.abort();
    }

    /// Waits until the instance has closed the link.
    pub(crate) async fn until_closed(self) {
        let ended = soon("the instance closes the link", self.connection).await.unwrap();
        if let Err(error) = ended {
            assert_eq!(error.reason(), Some(Reason::NO_ERROR), "{error}");
        }
    }
}

pub(crate) async fn text(body: RecvStream) -> Result<String, h2::Error> {
    let body = soon("the body ends", Received(body).collect()).await?;
    Ok(String::from_utf8(body.to_bytes().to_vec()).unwrap())
}
