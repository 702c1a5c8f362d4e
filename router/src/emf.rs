//! Metrics for CloudWatch: lines in its embedded metric format, written once a period by a thread
//! of its own. What they say is made in [`metrics`](crate::metrics).
//!
//! An agent or a disk that is slow or away costs the lines of a period and holds up nothing else;
//! the log says so once.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use io_tokio::clock::Clock;

use crate::line_writer::append_to;
use crate::metrics::{Metrics, Period};
use crate::settings::{Emf, EmfTarget};
use crate::writer_thread::WriterThread;

/// The thread that writes. Dropping it writes what there is of the last period.
#[derive(Debug)]
pub struct EmfWriter {
    stop: Option<SyncSender<()>>,
    thread: WriterThread,
}

/// Why there are no metrics for CloudWatch.
#[derive(Debug, thiserror::Error)]
pub enum EmfError {
    /// Its file cannot be opened.
    #[error("cannot open {file} for metrics: {reason}; check emf.to and its permissions")]
    Open {
        /// The file.
        file: String,
        /// What the system says.
        reason: io::Error,
    },
    /// Its thread cannot be started.
    #[error("cannot start the thread that writes metrics: {0}")]
    Thread(io::Error),
}

impl EmfWriter {
    /// Starts writing what `metrics` say, if anybody wants that.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or there are no more threads.
    pub fn start(emf: Option<&Emf>, metrics: &Arc<Metrics>) -> Result<Option<Self>, EmfError> {
        let Some(emf) = emf.cloned() else { return Ok(None) };
        if let EmfTarget::File(path) = &emf.to {
            // To tell what is wrong with it while somebody looks.
            append_to(path)
                .map_err(|reason| EmfError::Open { file: path.display().to_string(), reason })?;
        }
        let (stop, stopped) = sync_channel(0);
        let metrics = Arc::clone(metrics);
        let work = move || write(&emf, &metrics, &stopped);
        let thread = WriterThread::start("emf", work).map_err(EmfError::Thread)?;
        Ok(Some(Self { stop: Some(stop), thread }))
    }
}

impl Drop for EmfWriter {
    fn drop(&mut self) {
        self.stop = None;
        if !self.thread.has_ended() {
            tracing::warn!("the last metrics for CloudWatch could not be written");
        }
    }
}

/// Writes until it is told to stop, and then once more.
fn write(emf: &Emf, metrics: &Metrics, stopped: &Receiver<()>) {
    let clock = Clock::start();
    let mut period = Period::default();
    let mut is_broken = false;
    let mut stops = false;
    while !stops {
        for _ in 0..SAMPLES {
            period.sample(metrics);
            stops = stopped.recv_timeout(emf.period / SAMPLES) != Err(RecvTimeoutError::Timeout);
            if stops {
                break;
            }
        }
        let lines = period.end(metrics, &emf.namespace, clock.wall());
        match send(&lines, &emf.to) {
            Ok(()) => is_broken = false,
            Err(error) if !is_broken => {
                is_broken = true;
                tracing::error!(%error, to = ?emf.to, "metrics for CloudWatch are lost");
            }
            Err(_) => {}
        }
    }
}

/// Sends the lines of a period. Everything is opened anew each time: a file may have been moved
/// away since, and of an agent that has gone a connection says so only after lines are lost.
fn send(lines: &[String], to: &EmfTarget) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let text = lines.concat();
    match to {
        EmfTarget::File(path) => append_to(path)?.write_all(text.as_bytes()),
        EmfTarget::Stdout => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(text.as_bytes())?;
            stdout.flush()
        }
        EmfTarget::Tcp(address) => {
            let mut agent = TcpStream::connect_timeout(&resolve(address)?, AGENT_PATIENCE)?;
            agent.set_write_timeout(Some(AGENT_PATIENCE))?;
            agent.write_all(text.as_bytes())
        }
        EmfTarget::Udp(address) => {
            let to = resolve(address)?;
            let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(from)?;
            lines.iter().try_for_each(|line| socket.send_to(line.as_bytes(), to).map(drop))
        }
    }
}

fn resolve(address: &str) -> io::Result<SocketAddr> {
    let nowhere = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    address.to_socket_addrs()?.next().ok_or_else(nowhere)
}

/// How often a period is looked at what goes up and down.
const SAMPLES: u32 = 60;
/// How long an agent may take.
const AGENT_PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    use io_tokio::observe::AccessLog as _;

    use crate::access_log::tests::access;

    fn emf(to: EmfTarget) -> Emf {
        Emf { to, period: Duration::from_secs(1), namespace: "Test".to_owned() }
    }

    fn document(line: &str) -> serde_json::Value {
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn an_agent_that_hangs_up_after_each_line_misses_none() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let metrics = Metrics::new();
        let pool = metrics.pool("web");
        let to = EmfTarget::Tcp(listener.local_addr().unwrap().to_string());
        let often = Emf { period: Duration::from_millis(200), ..emf(to) };
        let _writer = EmfWriter::start(Some(&often), &metrics).unwrap().unwrap();
        let (mut requests, mut told, mut lines) = (0.0, 0.0, 0);
        while told < 3.0 {
            if told == requests {
                pool.record(&access());
                requests += 1.0;
            }
            let mut line = String::new();
            let agent = listener.accept().unwrap().0;
            BufReader::new(agent).read_line(&mut line).unwrap();
            told += document(&line)["Requests"].as_f64().unwrap();
            lines += 1;
            assert!(lines < 100, "{told} requests of {requests} are told of");
        }
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("emf"), folder.path().join("emf.1"));
        let to = EmfTarget::File(path.clone());
        send(&["one\n".to_owned(), "two\n".to_owned()], &to).unwrap();
        std::fs::rename(&path, &moved).unwrap();
        send(&["three\n".to_owned()], &to).unwrap();
        assert_eq!(std::fs::read_to_string(moved).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "three\n");
    }

    #[test]
    fn an_agent_is_sent_a_line_in_a_datagram_and_the_last_one_at_the_end() {
        let agent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let metrics = Metrics::new();
        let _pool = metrics.pool("web");
        let to = EmfTarget::Udp(agent.local_addr().unwrap().to_string());
        let hourly = Emf { period: Duration::from_secs(3_600), ..emf(to) };
        drop(EmfWriter::start(Some(&hourly), &metrics).unwrap());
        let mut line = vec![0; 64 << 10];
        let length = agent.recv(&mut line).unwrap();
        assert_eq!(document(std::str::from_utf8(&line[..length]).unwrap())["Pool"], "web");
    }

    #[test]
    fn an_agent_that_is_away_holds_up_nobody() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let metrics = Metrics::new();
        let _pool = metrics.pool("web");
        let to = EmfTarget::Tcp(gone.to_string());
        drop(EmfWriter::start(Some(&emf(to)), &metrics).unwrap().expect("it starts all the same"));
        let to = EmfTarget::File("/nonexistent/emf".into());
        let error = EmfWriter::start(Some(&emf(to)), &metrics).expect_err("no such folder");
        assert!(error.to_string().contains("/nonexistent/emf"), "{error}");
        assert!(EmfWriter::start(None, &metrics).unwrap().is_none());
    }
}
