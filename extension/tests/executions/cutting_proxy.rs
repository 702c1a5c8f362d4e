//! A TCP proxy that cuts a connection after a given number of bytes.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use crate::listen;

/// When to cut, and how. Only once: what connects later is left alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) bytes: Bytes,
    /// How many of them pass, over all connections.
    pub(crate) after: usize,
    pub(crate) how: How,
}

/// Which bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// From who connects to who listens.
    There,
    /// The others.
    Back,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Both peers see a clean end of the stream.
    End,
    /// Both peers see a reset.
    Reset,
}

/// The proxy.
pub(crate) struct CuttingProxy {
    pub(crate) port: u16,
    passing: Arc<Mutex<Passing>>,
}

#[derive(Debug, Default)]
struct Passing {
    there: Vec<u8>,
    back: Vec<u8>,
    cut: Option<Cut>,
}

impl CuttingProxy {
    /// Stands between whoever connects and what listens on `target`.
    pub(crate) async fn start(target: u16, cut: Option<Cut>) -> Self {
        let listener = listen().await;
        let port = listener.local_addr().unwrap().port();
        let passing = Arc::new(Mutex::new(Passing { cut, ..Passing::default() }));
        let shared = Arc::clone(&passing);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let passing = Arc::clone(&shared);
                tokio::spawn(async move {
                    // A target that is gone shows as a connection that ends.
                    let Ok(far) = TcpStream::connect(("127.0.0.1", target)).await else { return };
                    carry(near, far, &passing).await;
                });
            }
        });
        Self { port, passing }
    }

    /// All bytes that have passed in a direction.
    pub(crate) fn passed(&self, bytes: Bytes) -> Vec<u8> {
        let passing = self.passing.lock().unwrap();
        match bytes {
            Bytes::There => passing.there.clone(),
            Bytes::Back => passing.back.clone(),
        }
    }

    /// Whether it has cut.
    pub(crate) fn has_cut(&self) -> bool {
        self.passing.lock().unwrap().cut.is_none()
    }
}

async fn carry(mut near: TcpStream, mut far: TcpStream, passing: &Mutex<Passing>) {
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let ended = {
        let (mut near_read, mut near_write) = near.split();
        let (mut far_read, mut far_write) = far.split();
        tokio::try_join!(
            pass(&mut near_read, &mut far_write, passing, Bytes::There),
            pass(&mut far_read, &mut near_write, passing, Bytes::Back),
        )
    };
    match ended {
        Ok(_) => {}
        Err(How::Reset) => {
            near.set_zero_linger().ok();
            far.set_zero_linger().ok();
        }
        Err(How::End) => {
            near.shutdown().await.ok();
            far.shutdown().await.ok();
            // A socket that is closed with something unread resets; so all is read to the end.
            let mut rest = Vec::new();
            near.read_to_end(&mut rest).await.ok();
            far.read_to_end(&mut rest).await.ok();
        }
    }
}

/// Passes bytes on until their end, or an error that says how to end both connections.
async fn pass(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    passing: &Mutex<Passing>,
    bytes: Bytes,
) -> Result<(), How> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(0) => {
                to.shutdown().await.ok();
                return Ok(());
            }
            Ok(count) => count,
            Err(_) => return Err(How::Reset),
        };
        let (allowed, cut) = passing.lock().unwrap().take(bytes, &buffer[..count]);
        if to.write_all(&buffer[..allowed]).await.is_err() {
            return Err(How::Reset);
        }
        if let Some(how) = cut {
            return Err(how);
        }
    }
}

impl Passing {
    /// How many of `new` may pass, and whether that is the end.
    fn take(&mut self, bytes: Bytes, new: &[u8]) -> (usize, Option<How>) {
        let passed = match bytes {
            Bytes::There => &mut self.there,
            Bytes::Back => &mut self.back,
        };
        let due = self.cut.filter(|cut| {
            cut.bytes == bytes && (passed.len()..=passed.len() + new.len()).contains(&cut.after)
        });
        let Some(cut) = due else {
            passed.extend_from_slice(new);
            return (new.len(), None);
        };
        let allowed = cut.after - passed.len();
        passed.extend_from_slice(&new[..allowed]);
        self.cut = None;
        (allowed, Some(cut.how))
    }
}
