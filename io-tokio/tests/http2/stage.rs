//! One of our sides with a peer by hand, and what serves on it.

use std::sync::Arc;

use http::Response;
use io_tokio::http2::{self, Arrival, Config, Error, Opener};
use io_tokio::net::Io;
use tokio::io::duplex;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::PATIENCE;
use crate::bodies::{read, send_all};
use crate::raw::{PREFACE, Peer, settings};

pub(crate) const CONFIG: Config = Config {
    stream_window: 128 << 10,
    connection_window: 1 << 20,
    frame_bytes: 16 << 10,
    head_bytes: 16 << 10,
    streams_max: 100,
};

/// Room in the pipe: more than any test by hand sends at once.
pub(crate) const PIPE_BYTES: usize = 1 << 20;

/// A server of ours.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) arrivals: mpsc::UnboundedReceiver<Arrival>,
    leave: Arc<Notify>,
    end: JoinHandle<Result<(), Error>>,
}

impl Server {
    pub(crate) fn new<S: Io>(io: S, config: Config) -> Self {
        let (taken, arrivals) = mpsc::unbounded_channel();
        let leave = Arc::new(Notify::new());
        let end = tokio::spawn(serve(io, config, taken, Arc::clone(&leave)));
        Self { arrivals, leave, end }
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Arrival {
        timeout(PATIENCE, self.arrivals.recv()).await.expect("a request comes").unwrap()
    }

    pub(crate) fn leave(&self) {
        self.leave.notify_one();
    }

    /// Answers each request with its own body and trailers. Returns how the connection ends.
    pub(crate) fn echo(self) -> JoinHandle<Result<(), Error>> {
        let Self { mut arrivals, end, .. } = self;
        tokio::spawn(async move {
            while let Some(arrival) = arrivals.recv().await {
                tokio::spawn(async move { drop(answer(arrival).await) });
            }
        });
        end
    }

    /// How the connection ends, with nobody taking requests any more.
    pub(crate) async fn end(self) -> Result<(), Error> {
        drop(self.arrivals);
        ended(self.end).await
    }
}

async fn serve<S: Io>(
    io: S,
    config: Config,
    taken: mpsc::UnboundedSender<Arrival>,
    leave: Arc<Notify>,
) -> Result<(), Error> {
    let mut connection = http2::server(io, config);
    loop {
        let accepted = tokio::select! {
            biased;
            () = leave.notified() => {
                connection.leave();
                continue;
            }
            accepted = connection.accept() => accepted,
        };
        match accepted {
            None => return Ok(()),
            Some(arrival) => drop(taken.send(arrival?)),
        }
    }
}

async fn answer((request, respond): Arrival) -> Result<(), Error> {
    let (body, trailers) = read(request.into_body()).await?;
    let mut sending = respond.send_response(&Response::new(()), false)?;
    match trailers {
        None => send_all(&mut sending, body.into(), true).await,
        Some(trailers) => {
            send_all(&mut sending, body.into(), false).await?;
            sending.send_trailers(trailers)
        }
    }
}

pub(crate) async fn ended(end: JoinHandle<Result<(), Error>>) -> Result<(), Error> {
    timeout(PATIENCE, end).await.expect("the connection ends").unwrap()
}

/// A server and a client by hand that has said its first words.
pub(crate) async fn server(config: Config) -> (Peer, Server) {
    server_told(config, &[]).await
}

/// A server whose client has settings.
pub(crate) async fn server_told(config: Config, values: &[(u16, u32)]) -> (Peer, Server) {
    let (near, far) = duplex(PIPE_BYTES);
    let mut peer = Peer::new(near);
    let server = Server::new(far, config);
    peer.send(PREFACE).await;
    peer.send(&settings(values)).await;
    (peer, server)
}

/// A client and a server by hand that has said its first words.
pub(crate) async fn client(
    config: Config,
    values: &[(u16, u32)],
) -> (Peer, Opener, JoinHandle<Result<(), Error>>) {
    client_over(PIPE_BYTES, config, values).await
}

/// The same with a pipe that has another size.
pub(crate) async fn client_over(
    pipe_bytes: usize,
    config: Config,
    values: &[(u16, u32)],
) -> (Peer, Opener, JoinHandle<Result<(), Error>>) {
    let (near, far) = duplex(pipe_bytes);
    let mut peer = Peer::new(near);
    let (opener, mut connection) = http2::client(far, config);
    let end = tokio::spawn(async move { connection.run().await });
    peer.preface().await;
    peer.send(&settings(values)).await;
    // All of it is known to both before a test begins.
    peer.until_quiet().await;
    (peer, opener, end)
}
