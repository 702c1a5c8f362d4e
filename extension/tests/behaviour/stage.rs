//! Puts an extension between the stand-ins, and waits for things to happen.

use std::time::Duration;

use io_tokio::clock::Clock;
use lambda_dispatch_extension::network::Network;
use lambda_dispatch_extension::settings::Settings;
use lambda_dispatch_extension::{RunError, run};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::app::App;
use crate::lambda::Lambda;
use crate::router::{Link, Router};

pub(crate) struct Stage {
    pub(crate) lambda: Lambda,
    pub(crate) router: Router,
    pub(crate) extension: JoinHandle<Result<(), RunError>>,
}

impl Stage {
    /// A stage whose extension is ready for its first invoke.
    pub(crate) async fn with(app: &App) -> Self {
        Self::with_settings(app, &[]).await
    }

    pub(crate) async fn with_settings(app: &App, more: &[(&str, &str)]) -> Self {
        let mut stage = Self::starting(app, more).await;
        stage.lambda.until_polled().await;
        stage
    }

    /// A stage whose extension has just been started.
    pub(crate) async fn starting(app: &App, more: &[(&str, &str)]) -> Self {
        let lambda = Lambda::start().await;
        let router = Router::start().await;
        let own = [
            ("AWS_LAMBDA_RUNTIME_API", lambda.address.to_string()),
            ("LAMBDA_DISPATCH_PORT", app.port.to_string()),
            ("LAMBDA_DISPATCH_READINESS_PROTOCOL", "tcp".to_owned()),
        ];
        let settings = Settings::read(|name| {
            let more = more.iter().find(|(key, _)| *key == name);
            let own = own.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
            more.map(|(_, value)| (*value).to_owned()).or(own)
        });
        let settings = settings.unwrap();
        let network = Network::tcp(settings.router_networks.clone().and_loopback());
        let running = run(settings, network, Clock::start(), std::future::pending());
        let extension = tokio::spawn(running);
        Self { lambda, router, extension }
    }

    /// Invokes the environment for a minute and lets it attach.
    pub(crate) async fn attach(&mut self) -> Link {
        self.attach_for(Duration::from_secs(60)).await
    }

    pub(crate) async fn attach_for(&mut self, left: Duration) -> Link {
        let payload = self.router.payload();
        self.lambda.invoke(payload.to_json(), left).await;
        self.router.accept().await
    }
}

/// Waits for something that must happen, for as long as a slow machine may need.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon(what, waiting).await;
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
