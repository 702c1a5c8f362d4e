use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

use super::*;

/// An app that gives this answer to everything, or that is not there.
#[derive(Clone)]
struct App(Option<&'static str>);

impl Connector for App {
    type Io = DuplexStream;

    async fn connect(&self, _: &str, _: u16) -> io::Result<DuplexStream> {
        let answer = self.0.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (ours, mut theirs) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let mut head = [0; 1024];
            assert!(theirs.read(&mut head).await.unwrap() > 0);
            theirs.write_all(answer.as_bytes()).await.unwrap();
        });
        Ok(ours)
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut page = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        page.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the log has after half a minute of waiting for `app`, whose settings these are.
async fn said(app: App, variables: &[(&str, &str)]) -> Vec<String> {
    let page = Page::default();
    let writer = page.clone();
    let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    let _logging = tracing::subscriber::set_default(lines.finish());
    let settings = Settings::read(|name| {
        let api = ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001");
        let found = variables.iter().chain([&api]).find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    });
    let (settings, clock) = (settings.unwrap(), Clock::start());
    let ready = timeout(Duration::from_secs(31), until_ready(&app, &settings, &clock)).await;
    assert!(ready.is_err(), "it is ready");
    let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_an_app_is_told_where_and_why_with_pauses_that_double() {
    let said = said(App(None), &[("LAMBDA_DISPATCH_READINESS_PATH", "/up?deep=1")]).await;
    let expected = "waiting for GET http://127.0.0.1:3001/up?deep=1: connection refused; see \
                    LAMBDA_DISPATCH_PORT, LAMBDA_DISPATCH_READINESS_PATH, \
                    LAMBDA_DISPATCH_READINESS_STATUS";
    // After 2, 6, 14 and 30 s.
    assert_eq!(said.len(), 4, "{said:#?}");
    for line in said {
        assert!(line.contains(" WARN ") && line.ends_with(expected), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_an_app_that_is_not_well_is_told_its_status() {
    let answer = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n";
    let said = said(App(Some(answer)), &[("LAMBDA_DISPATCH_READINESS_PORT", "4000")]).await;
    let expected = "waiting for GET http://127.0.0.1:4000/health: the answer is 500 Internal \
                    Server Error; see LAMBDA_DISPATCH_READINESS_PORT, ";
    assert!(said.iter().all(|line| line.contains(expected)), "{said:#?}");
    assert_eq!(said.len(), 4, "{said:#?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_connection_is_told_so() {
    let said = said(App(None), &[("LAMBDA_DISPATCH_READINESS_PROTOCOL", "tcp")]).await;
    let expected = "waiting for a connection to 127.0.0.1:3001: connection refused; see \
                    LAMBDA_DISPATCH_PORT";
    assert!(said[0].ends_with(expected), "{said:#?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_an_app_that_speaks_http2_is_told_what_grpc_servers_need() {
    let said = said(App(None), &[("LAMBDA_DISPATCH_APP_PROTOCOL", "h2c")]).await;
    assert!(said[0].ends_with("LAMBDA_DISPATCH_READINESS_PROTOCOL=tcp"), "{said:#?}");
}
