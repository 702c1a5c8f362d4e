//! A fresh Lambda environment for each invoke: a real extension and a stand-in for Lambda's API.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dispatch_model::InvokeOutcome;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use io_tokio::clock::Clock;
use io_tokio::invoker::{Invoked, Invoker};
use io_tokio::networks::Networks;
use lambda_dispatch_extension::network::Network;
use lambda_dispatch_extension::run;
use lambda_dispatch_extension::settings::Settings;
use tokio::sync::mpsc;

use crate::app::Counts;
use crate::listen;

/// Makes environments.
pub(crate) struct Environments {
    pub(crate) app_port: u16,
    pub(crate) counts: Arc<Counts>,
    pub(crate) made: Arc<AtomicUsize>,
}

impl Invoker for Environments {
    fn invoke(
        &self,
        _: &str,
        payload: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Invoked> + Send + '_>> {
        let first = self.made.fetch_add(1, Ordering::Relaxed) == 0;
        Box::pin(async move {
            let (answers, mut answered) = mpsc::channel(1);
            let api = start_api(payload, answers).await;
            let own = [
                ("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{api}")),
                ("LAMBDA_DISPATCH_PORT", self.app_port.to_string()),
                ("LAMBDA_DISPATCH_READINESS_PROTOCOL", "tcp".to_owned()),
                ("LAMBDA_DISPATCH_ALLOW_INSECURE", "true".to_owned()),
            ];
            let settings = Settings::read(|name| {
                own.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
            });
            let network = Network::tcp(Networks::any());
            let counts = Arc::clone(&self.counts);
            let stop = async move {
                if first {
                    counts.left.notified().await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            let extension = run(settings.unwrap(), network, Clock::start(), stop);
            let outcome = tokio::select! {
                biased;
                Some(outcome) = answered.recv() => outcome,
                _ = extension => answered.try_recv().unwrap_or(InvokeOutcome::Crashed),
            };
            Invoked::new(outcome, &"")
        })
    }
}

/// Lambda's API for one environment and one invoke; gives its port.
async fn start_api(event: Vec<u8>, answers: mpsc::Sender<InvokeOutcome>) -> u16 {
    let listener = listen().await;
    let port = listener.local_addr().unwrap().port();
    let event = Arc::new(Mutex::new(Some(Bytes::from(event))));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (event, answers) = (Arc::clone(&event), answers.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (event, answers) = (Arc::clone(&event), answers.clone());
                async move { Ok::<_, Infallible>(answer(&request, &event, &answers).await) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move { drop(connection.await) });
        }
    });
    port
}

async fn answer(
    request: &Request<Incoming>,
    event: &Mutex<Option<Bytes>>,
    answers: &mpsc::Sender<InvokeOutcome>,
) -> Response<Full<Bytes>> {
    let response = Response::builder();
    let path = request.uri().path();
    let response = match path {
        "/2020-01-01/extension/register" => {
            response.header("lambda-extension-identifier", "x").body(Full::default())
        }
        "/2018-06-01/runtime/invocation/next" => {
            let Some(event) = event.lock().unwrap().take() else {
                return std::future::pending().await;
            };
            let deadline = Clock::start().wall() + Duration::from_secs(60);
            let deadline = deadline.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
            response
                .header("lambda-runtime-aws-request-id", "request")
                .header("lambda-runtime-deadline-ms", deadline.to_string())
                .body(Full::from(event))
        }
        "/2020-01-01/extension/event/next" => std::future::pending().await,
        _ => {
            let failed = path.ends_with("/error");
            let outcome = if failed { InvokeOutcome::Crashed } else { InvokeOutcome::Returned };
            answers.send(outcome).await.ok();
            response.body(Full::default())
        }
    };
    response.unwrap()
}
