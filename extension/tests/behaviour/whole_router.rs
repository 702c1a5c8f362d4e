//! A real router, for what only both sides together can show.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dispatch_model::{Config, InvokeOutcome, Limits};
use io_tokio::chance::Chance;
use io_tokio::clock::Clock;
use io_tokio::driver::PoolSettings;
use io_tokio::edge::EdgeSettings;
use io_tokio::invoker::{Invoked, Invoker};
use io_tokio::networks::Networks;
use io_tokio::observe::Blind;
use io_tokio::payload::InvokePayload;
use io_tokio::routes::Routes;
use io_tokio::running::{Parts, PoolParts, Running, Share};
use io_tokio::split::Split;
use io_tokio::tls::RouterIdentity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::stage::soon;

/// What a router offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Ours,
    /// As the original writes it.
    V1,
}

/// Hands payloads to the test.
struct Hand(mpsc::UnboundedSender<Vec<u8>>, Wire);

impl Invoker for Hand {
    fn invoke(
        &self,
        _: &str,
        payload: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Invoked> + Send + '_>> {
        let mut payload = InvokePayload::from_json(&payload).unwrap();
        if self.1 == Wire::V1 {
            payload.v2 = None;
        }
        self.0.send(payload.to_json()).ok();
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Invoked::new(InvokeOutcome::Returned, &"")
        })
    }
}

/// A router that speaks TLS with its instances, where its clients come in, and whom it invokes.
pub(crate) async fn router(wire: Wire) -> (Running, SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
    let bind = || TcpListener::bind("127.0.0.1:0");
    let (clients, instances) = (bind().await.unwrap(), bind().await.unwrap());
    let (address, control) = (clients.local_addr().unwrap(), instances.local_addr().unwrap());
    let identity = RouterIdentity::generate().unwrap();
    let (hand, payloads) = mpsc::unbounded_channel();
    // However long a busy machine takes between two requests, nobody is sent away in between: no
    // test here invokes another.
    let linger = Duration::from_secs(600);
    let limits = Limits { slots: 5, instances_max: 1, linger, ..Limits::default() };
    let running = Running::start(Parts {
        clients: vec![(clients, None)],
        instances: vec![(instances, Some(identity.clone()))],
        wire_v1: (wire == Wire::V1).then(|| Networks::none().and_loopback()),
        clock: Clock::start(),
        pools: vec![PoolParts {
            config: Config::new(limits).unwrap(),
            settings: PoolSettings {
                name: "default".into(),
                function: "f".into(),
                callback_url: format!("https://{control}"),
                identity: Some(identity),
                seed: 1,
                chance: Chance::System,
            },
            invoker: Arc::new(Hand(hand, wire)),
            access: Arc::new(Blind),
            observer: Blind,
        }],
        routes: Routes::all_to(Split::all_to(Share::of_default_pool())),
        edge: EdgeSettings::default(),
        access: Arc::new(Blind),
    });
    (running, address, payloads)
}

/// What a client gets that sends `request` and reads to the end.
pub(crate) async fn ask(address: SocketAddr, request: Vec<u8>) -> Vec<u8> {
    let mut client = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = client.split();
    let mut seen = Vec::new();
    let both = async { tokio::join!(writer.write_all(&request), reader.read_to_end(&mut seen)) };
    let (written, read) = soon("an answer ends", both).await;
    written.unwrap();
    read.unwrap();
    seen
}
