//! The network as the adapters see it: something that accepts and something that connects.
//!
//! Production uses TCP, a simulation stands in its own sockets. Everything above is generic over
//! the two traits and knows no other condition. TCP's options are decided here once: Nagle is off
//! (with it on, a relayed exchange is nine times slower) and keep-alive is on, so that a peer that
//! vanished without a word is noticed even where nobody pings. Linux also gives up on a peer that
//! acknowledges nothing, so that what was written to it does not stay in memory for a quarter of an
//! hour.

mod tcp;

use std::any::Any;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::server::TlsStream;

use crate::networks::Networks;
pub use tcp::Tcp;

/// How many sockets that are ready a runtime of router or extension serves before what they wrote
/// to the link is sent.
///
/// With as many as there are, all requests that wait move from one process to the next as one
/// crowd, and whoever has handed it on has nothing to do until it is back: a quarter of two cores
/// stood idle under full load. With so few, the next process begins while this one goes on; with
/// fewer there would be more system calls a request (`bench/NOTES.md`).
pub const EVENTS_PER_TURN: usize = 16;

/// A byte stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Its end is to look like an error to the peer, and not like the end of what was sent. What
    /// the peer has not received yet is then lost. For plain TCP; the end of TLS is told apart
    /// anyway.
    fn end_as_cut(&self)
    where
        Self: Sized,
    {
        if let Some(tcp) = (self as &dyn Any).downcast_ref::<Tcp>() {
            tcp.end_as_cut();
        }
    }

    /// The TCP that it is, or that is below its TLS.
    fn tcp(&mut self) -> Option<&mut Tcp>
    where
        Self: Sized,
    {
        let io = self as &mut dyn Any;
        if io.is::<Tcp>() {
            return io.downcast_mut();
        }
        io.downcast_mut::<TlsStream<Tcp>>().map(|tls| tls.get_mut().0)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for T {}

/// Accepts connections.
pub trait Listener: Send + 'static {
    /// What an accepted connection is.
    type Io: Io;

    /// The next connection and the address of its peer.
    ///
    /// # Errors
    ///
    /// A connection that failed while it was accepted, or a process out of descriptors. The
    /// listener stays usable; accept again.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, SocketAddr)>> + Send;

    /// The address it listens on, with the real port where 0 was asked for.
    ///
    /// # Errors
    ///
    /// Those of the operating system.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

impl Listener for TcpListener {
    type Io = Tcp;

    async fn accept(&mut self) -> io::Result<(Tcp, SocketAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        tune(&stream)?;
        Ok((Tcp::from(stream), peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}

/// Listens on `address`, with room for a burst of clients that are yet to be accepted.
///
/// The kernel takes no more of them than its `net.core.somaxconn`, on Linux 4096 unless it was set.
///
/// # Errors
///
/// Those of the operating system: the port is in use, or not for this user; the address is not of
/// this machine.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // As others do: connections of a process that is gone do not keep the port from the next one.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(UNACCEPTED_MAX)
}

/// `host` and `port` as a URL or a `Host` has them: an IPv6 address, which is without brackets
/// here, is within brackets there.
#[must_use]
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A URL's host as [`Connector::connect`] takes it: an IPv6 address without its brackets.
#[must_use]
pub fn unbracketed(host: &str) -> &str {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    address.unwrap_or(host)
}

/// Opens connections.
pub trait Connector: Clone + Send + Sync + 'static {
    /// What an opened connection is.
    type Io: Io;

    /// Connects to `host` (a name or an address, IPv6 without brackets) and `port`.
    ///
    /// # Errors
    ///
    /// The name is unknown, the peer refused or did not answer, or the connector forbids the
    /// address. How long to wait is the caller's decision.
    fn connect(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

/// Connects over TCP, to addresses in the allowed networks only.
///
/// The check is made on the address that is really dialled, after names are resolved.
#[derive(Clone, Debug)]
pub struct TcpConnector {
    allowed: Networks,
}

impl TcpConnector {
    /// A connector that dials only addresses in `allowed`.
    #[must_use]
    pub const fn new(allowed: Networks) -> Self {
        Self { allowed }
    }
}

impl Connector for TcpConnector {
    type Io = Tcp;

    async fn connect(&self, host: &str, port: u16) -> io::Result<Tcp> {
        let mut last = None;
        for address in tokio::net::lookup_host((host, port)).await? {
            if !self.allowed.contains(address.ip()) {
                last = Some(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!("{} is outside the allowed networks {}", address.ip(), self.allowed),
                ));
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    tune(&stream)?;
                    return Ok(Tcp::from(stream));
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"))
        }))
    }
}

/// Switches Nagle off and keep-alive on, and gives up on who acknowledges nothing for a minute.
///
/// # Errors
///
/// Those of the operating system, for a socket that is already dead.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    let socket = SockRef::from(stream);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    socket.set_tcp_keepalive(&keepalive)
}

/// Connections that wait to be accepted. With the 128 that are usual, a burst of a thousand clients
/// overran the queue: the kernel drops what is too much without a word, and its sender tries again
/// after 200 ms or a second.
const UNACCEPTED_MAX: u32 = 4_096;
/// Below the 350 s after which NAT gateways and load balancers forget an idle connection.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(45);
/// How long a peer may leave unacknowledged what was sent to it.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_colons_is_within_brackets_in_an_authority_alone() {
        for (host, in_authority) in [("::1", "[::1]"), ("127.0.0.1", "127.0.0.1"), ("a.b", "a.b")] {
            assert_eq!(authority(host, 9001), format!("{in_authority}:9001"));
            assert_eq!(unbracketed(in_authority), host);
        }
    }

    #[tokio::test]
    async fn both_ends_of_a_connection_send_small_writes_at_once() {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = Listener::local_addr(&listener).unwrap().port();
        let connector = TcpConnector::new("127.0.0.0/8".parse().unwrap());
        let (accepted, connected) =
            tokio::join!(Listener::accept(&mut listener), connector.connect("127.0.0.1", port));
        assert!(accepted.unwrap().0.stream.nodelay().unwrap());
        let connected = connected.unwrap().stream;
        assert!(connected.nodelay().unwrap());
        let socket = SockRef::from(&connected);
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED_MAX));
    }

    #[tokio::test]
    async fn a_burst_of_clients_is_connected_before_any_is_accepted() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = Listener::local_addr(&listener).unwrap();
        let burst = async {
            let mut clients = Vec::new();
            for _ in 0..300 {
                clients.push(TcpStream::connect(address).await.unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(60), burst).await.expect("the queue was overrun");
    }

    #[tokio::test]
    async fn an_address_outside_the_allowed_networks_is_never_dialled() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = Listener::local_addr(&listener).unwrap().port();
        let error = TcpConnector::new(Networks::private())
            .connect("127.0.0.1", port)
            .await
            .expect_err("loopback is not a private network");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().starts_with("127.0.0.1 is outside"), "{error}");
    }
}
