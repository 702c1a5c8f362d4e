//! TCP, with fewer cycles for small messages.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection that writes small pieces as one.
///
/// A head and its body are two pieces, or a head alone is a list of one. The kernel takes 6 % less
/// time for `send` than for such a `writev`, the copy included (`bench/NOTES.md`).
#[derive(Debug)]
pub struct Tcp {
    pub(super) stream: TcpStream,
    /// Writes do not wait to be told that there is room, until there is none.
    insists: bool,
}

impl From<TcpStream> for Tcp {
    fn from(stream: TcpStream) -> Self {
        Self { stream, insists: false }
    }
}

impl Tcp {
    /// Closing it resets the connection.
    pub(super) fn end_as_cut(&self) {
        // It fails on a socket that is dead already.
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).ok();
    }

    /// Writes are tried though nobody has said that there is room, until there is none. Linux does
    /// not say so before a third of its buffer is free, which grows to megabytes; so a peer that
    /// reads slowly cannot be told from one that reads nothing in another way.
    pub(crate) const fn insist(&mut self) {
        self.insists = true;
    }

    /// The kernel is not to give up on the peer, for whom somebody else has a limit: it takes one
    /// whose window closes again and again for one that acknowledges nothing.
    pub(crate) fn never_give_up(&self) {
        // It fails on a socket that is dead already.
        #[cfg(target_os = "linux")]
        SockRef::from(&self.stream).set_tcp_user_timeout(None).ok();
    }
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if polled.is_ready() || !self.insists {
            return polled;
        }
        match SockRef::from(&self.stream).send(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.insists = false;
                Poll::Pending
            }
            sent => Poll::Ready(sent),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.insists {
            let first = pieces.iter().find(|piece| !piece.is_empty());
            return self.poll_write(cx, first.map_or(&[], |piece| piece));
        }
        let stream = Pin::new(&mut self.stream);
        if let [one] = pieces {
            return stream.poll_write(cx, one);
        }
        let mut gathered = [0; GATHERED_BYTES_MAX];
        match gather(pieces, &mut gathered) {
            Some(bytes) => stream.poll_write(cx, bytes),
            None => stream.poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// All `pieces`, one after the other; `None` if `room` is too small.
fn gather<'a>(pieces: &[IoSlice<'_>], room: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut length = 0;
    for piece in pieces {
        room.get_mut(length..length + piece.len())?.copy_from_slice(piece);
        length += piece.len();
    }
    room.get(..length)
}

const GATHERED_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What comes of writing `pieces` for as long as there is something left of them.
    async fn sent(pieces: &[&[u8]]) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut near, mut far) = (Tcp::from(near.unwrap()), far.unwrap().0);
        let send = async move {
            let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut rest = &mut slices[..];
            while rest.iter().any(|slice| !slice.is_empty()) {
                let written = near.write_vectored(rest).await.unwrap();
                IoSlice::advance_slices(&mut rest, written);
            }
        };
        let mut received = Vec::new();
        let ((), read) = tokio::join!(send, far.read_to_end(&mut received));
        read.unwrap();
        received
    }

    #[tokio::test]
    async fn pieces_arrive_whole_and_in_order_whatever_their_size() {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(3_000_000).collect();
        for sizes in [&[0][..], &[300], &[200, 0, 13], &[1_000, 24], &[1_000, 25], &[9, 2_999_000]]
        {
            let mut rest = &bytes[..];
            let pieces: Vec<_> =
                sizes.iter().map(|size| rest.split_off(..*size).unwrap()).collect();
            assert_eq!(sent(&pieces).await, pieces.concat(), "{sizes:?}");
        }
    }
}
