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
pub struct Tcp(pub(super) TcpStream);

impl Tcp {
    /// Closing it resets the connection.
    pub(super) fn end_as_cut(&self) {
        // It fails on a socket that is dead already.
        SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).ok();
    }

    /// Little waits in the kernel that cannot be sent yet, and half of it is enough to go on.
    pub(super) fn show_progress(&self) {
        // It fails on a socket that is dead already.
        #[cfg(target_os = "linux")]
        SockRef::from(&self.0).set_tcp_notsent_lowat(UNSENT_BYTES_MAX).ok();
    }
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.0);
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
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
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
/// What a connection of 10 Gbit/s sends in 0.1 ms, within which there is more.
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: u32 = 128 << 10;

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
        let (mut near, mut far) = (Tcp(near.unwrap()), far.unwrap().0);
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
