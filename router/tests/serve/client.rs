//! An HTTP/1.1 client that sends what it is told, byte for byte, and shows all that comes back.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::stage::PATIENCE;

/// One connection.
pub(crate) struct Client<S>(BufReader<S>);

/// One response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Client<TcpStream> {
    pub(crate) async fn try_connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::over(TcpStream::connect(address).await?))
    }

    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.unwrap()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.get_mut().write_all(bytes.as_ref()).await?;
        self.0.get_mut().flush().await
    }

    /// As many bytes as that.
    pub(crate) async fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        timeout(PATIENCE, self.0.read_exact(&mut bytes)).await.unwrap().unwrap();
        bytes
    }

    /// Sends no more.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        self.0.get_mut().shutdown().await
    }

    /// All that comes until the end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut bytes)).await.unwrap().unwrap();
        bytes
    }

    /// A GET that leaves the connection open.
    pub(crate) async fn get(&mut self, target: &str) -> io::Result<Answer> {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")).await?;
        self.answer("GET").await
    }

    /// The next answer, which is to a request with this method.
    pub(crate) async fn answer(&mut self, method: &str) -> io::Result<Answer> {
        let read = async {
            let mut answer = self.head().await?;
            let bodiless = method == "HEAD" || matches!(answer.status, 204 | 304);
            if !bodiless {
                answer.body = self.body(&answer).await?;
            }
            Ok(answer)
        };
        timeout(PATIENCE, read).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Some more of what comes; empty at the end.
    pub(crate) async fn some(&mut self) -> io::Result<Vec<u8>> {
        let read = async {
            let bytes = self.0.fill_buf().await?.to_vec();
            self.0.consume(bytes.len());
            Ok(bytes)
        };
        timeout(PATIENCE, read).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// The head of an answer, with nothing of its body.
    pub(crate) async fn head(&mut self) -> io::Result<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if self.0.read_until(b'\n', &mut head).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let status = head.get(9..12).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
        Ok(Answer { status: status.unwrap(), head, body: Vec::new() })
    }

    async fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if let Some(length) = answer.header("content-length") {
            body.resize(std::str::from_utf8(length).unwrap().parse().unwrap(), 0);
            self.0.read_exact(&mut body).await?;
        } else if answer.header("transfer-encoding") == Some(b"chunked") {
            loop {
                let mut line = String::new();
                self.0.read_line(&mut line).await?;
                let Ok(size) = usize::from_str_radix(line.trim(), 16) else {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                };
                let start = body.len();
                body.resize(start + size, 0);
                self.0.read_exact(&mut body[start..]).await?;
                self.0.read_exact(&mut [0; 2]).await?;
                if size == 0 {
                    break;
                }
            }
        } else {
            self.0.read_to_end(&mut body).await?;
        }
        Ok(body)
    }
}

impl Answer {
    /// Each value of a header, in order.
    pub(crate) fn headers(&self, name: &str) -> Vec<&[u8]> {
        let lines = self.head.split(|byte| *byte == b'\n').filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        });
        lines.filter(|(it, _)| it.eq_ignore_ascii_case(name.as_bytes())).map(|it| it.1).collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers(name).first().copied()
    }

    /// Whether the connection ends with it.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|it| it.eq_ignore_ascii_case(b"close"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
