//! Invoking functions through the AWS Lambda API.
//!
//! Each invocation is one call that stays open for as long as the instance lives, up to 15 minutes
//! and more, and is silent until the end. Three things follow. The SDK must not repeat a call on
//! its own: each call is another instance, so retries are off and the model decides. Nothing may
//! time out between connecting and the answer. And the connection must be kept alive below HTTP,
//! since NAT gateways forget a silent one after 350 s, which is why calls go over the small
//! transport of this module's own.
//!
//! What Lambda says is turned into an [`InvokeOutcome`](dispatch_model::InvokeOutcome): by what it
//! means for the next invoke, not by its number.

pub(crate) mod look;
mod outcome;
mod transport;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::retry::{ReconnectMode, RetryConfig};
use aws_sdk_lambda::config::timeout::TimeoutConfig;
use aws_sdk_lambda::config::{
    Credentials, ProvideCredentials, Region, StalledStreamProtectionConfig,
};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use aws_smithy_http_client::tls;
use io_tokio::invoker::{Invoked, Invoker};
use tokio::time::timeout;

use crate::settings::Aws;

pub(crate) use transport::{Target, Transport};

/// Invokes functions through the AWS Lambda API, or whatever speaks it.
#[derive(Clone, Debug)]
pub struct LambdaInvoker {
    client: Client,
}

/// Why AWS Lambda cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    /// The system has no certificate authorities to check AWS's certificate against.
    #[error(
        "no certificate authorities found ({0}); install the package ca-certificates, or set \
         SSL_CERT_FILE"
    )]
    NoAuthorities(String),
    /// No credentials.
    #[error(
        "no AWS credentials ({0}); give the task or instance an IAM role, or set AWS_ACCESS_KEY_ID \
         and AWS_SECRET_ACCESS_KEY; after `aws sso login` use \
         `eval \"$(aws configure export-credentials --format env)\"`"
    )]
    NoCredentials(String),
    /// Whoever has credentials does not answer.
    #[error(
        "no AWS credentials within {CREDENTIALS_TIMEOUT:?}; see that what gives them to this task, \
         pod or instance (STS, or an address in AWS_ENDPOINT_URL_STS or \
         AWS_CONTAINER_CREDENTIALS_FULL_URI) can be reached from here"
    )]
    CredentialsLate,
    /// No region.
    #[error(
        "no AWS region; set aws.region or AWS_REGION, or give pool.function as a full ARN, which \
         names its region"
    )]
    NoRegion,
    /// The cryptography cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

impl LambdaInvoker {
    /// For production: region and credentials from `aws`, else from where every AWS program has
    /// them. Fetches credentials once, so that a router that could never invoke does not start.
    ///
    /// # Errors
    ///
    /// There is no region, there are no credentials in time, or TLS cannot be set up.
    pub async fn connect(aws: &Aws) -> Result<Self, AwsError> {
        let (shared, _) = loaded(aws).await?;
        let config = aws_sdk_lambda::config::Builder::from(&shared);
        Ok(Self::new(config, aws.endpoint.as_deref(), Transport::with_system_authorities()?))
    }

    /// For a stand-in of Lambda at `endpoint`: any credentials, any region, nothing looked up.
    ///
    /// # Errors
    ///
    /// TLS cannot be set up.
    pub fn local(endpoint: &str) -> Result<Self, AwsError> {
        let config = aws_sdk_lambda::Config::builder()
            .behavior_version(BEHAVIOR())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "local"));
        Ok(Self::new(config, Some(endpoint), Transport::without_authorities()?))
    }

    fn new(
        config: aws_sdk_lambda::config::Builder,
        endpoint: Option<&str>,
        transport: Transport,
    ) -> Self {
        let mut config = config
            // Each call has its own connection, so a failed one leaves none behind to be avoided.
            .retry_config(
                RetryConfig::disabled().with_reconnect_mode(ReconnectMode::ReuseAllConnections),
            )
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(transport);
        if let Some(endpoint) = endpoint {
            config = config.endpoint_url(endpoint);
        }
        Self { client: Client::from_conf(config.build()) }
    }
}

/// Region and credentials, from `aws` or from where every AWS program has them. Whoever has
/// credentials may be reached and never answer, so that this has an end.
async fn loaded(aws: &Aws) -> Result<(SdkConfig, Credentials), AwsError> {
    let found = timeout(CREDENTIALS_TIMEOUT, find(aws)).await;
    found.unwrap_or(Err(AwsError::CredentialsLate))
}

async fn find(aws: &Aws) -> Result<(SdkConfig, Credentials), AwsError> {
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let http = aws_smithy_http_client::Builder::new().tls_provider(provider).build_https();
    let mut loader = aws_config::defaults(BEHAVIOR()).http_client(http);
    if let Some(region) = &aws.region {
        loader = loader.region(Region::new(region.clone()));
    }
    let shared = loader.load().await;
    if shared.region().is_none() {
        return Err(AwsError::NoRegion);
    }
    let Some(provider) = shared.credentials_provider() else {
        return Err(AwsError::NoCredentials("no provider is configured".to_owned()));
    };
    let credentials = provider.provide_credentials().await;
    let credentials = credentials.map_err(|error| AwsError::NoCredentials(whole(&error)))?;
    Ok((shared, credentials))
}

impl Invoker for LambdaInvoker {
    fn invoke(
        &self,
        function: &str,
        payload: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Invoked> + Send + '_>> {
        let call = self
            .client
            .invoke()
            .function_name(function)
            .invocation_type(InvocationType::RequestResponse)
            .payload(Blob::new(payload));
        Box::pin(async move {
            match call.send().await {
                Ok(output) => outcome::of_output(&output),
                Err(error) => outcome::of_error(&error),
            }
        })
    }
}

/// An error and everything that caused it, on one line: the SDK's own say only "dispatch failure".
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    // A list of attempts has a line for each.
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    lines.join("; ").replace(":; ", ": ")
}

/// Pinned, so that an update of the SDK changes no time-out and no retry.
const BEHAVIOR: fn() -> BehaviorVersion = BehaviorVersion::v2026_01_12;

/// How long those that have credentials may take; EC2's answers in seconds where there is none.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(20);

/// How long name lookup, TCP and TLS may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
