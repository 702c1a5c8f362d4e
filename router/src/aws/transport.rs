//! One TCP connection for each invoke.
//!
//! A call lasts minutes, so a pool would save nothing that counts, and it would cost certainty: a
//! reused connection may be one that the other side is just closing, and then nobody knows whether
//! the function was invoked. With a fresh connection there are two clear phases: a failure before
//! the request is handed over has invoked nothing, one after it may have. HTTP/1.1 only, so that a
//! connection that breaks takes one invoke with it and not a hundred.

use std::sync::Arc;

use aws_sdk_lambda::config::http::{HttpRequest, HttpResponse};
use aws_sdk_lambda::config::{HttpClient, RuntimeComponents};
use aws_sdk_lambda::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderValue, Uri};
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use io_tokio::net::{Io, tune, unbracketed};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{AwsError, CONNECT_TIMEOUT};

/// Sends each request over a connection of its own.
#[derive(Clone)]
pub(crate) struct Transport {
    tls: TlsConnector,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    /// The request was handed over and its fate is unknown.
    #[error("the connection broke after the request was sent: {0}")]
    Broken(hyper::Error),
    /// Nothing was sent.
    #[error("cannot connect to {authority}: {reason}")]
    Connect { authority: String, reason: String },
    /// Nothing was sent, since the request makes no sense.
    #[error("the request cannot be sent: {0}")]
    Request(String),
}

impl Transport {
    /// Trusts the certificate authorities of the system.
    pub(crate) fn with_system_authorities() -> Result<Self, AwsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(found.certs);
        if usable == 0 {
            let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
            return Err(AwsError::NoAuthorities(reasons.join("; ")));
        }
        Self::new(roots)
    }

    /// Trusts nobody: only for cleartext on the same host.
    pub(crate) fn without_authorities() -> Result<Self, AwsError> {
        Self::new(RootCertStore::empty())
    }

    pub(super) fn new(roots: RootCertStore) -> Result<Self, AwsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| AwsError::Tls(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let nonsense = |error: &dyn std::error::Error| TransportError::Request(super::whole(error));
        let mut request = request.try_into_http1x().map_err(|error| nonsense(&error))?;
        let target = Target::of(request.uri())
            .ok_or_else(|| TransportError::Request(format!("bad URL {}", request.uri())))?;
        let host = HeaderValue::try_from(&target.authority).map_err(|error| nonsense(&error))?;
        request.headers_mut().insert(HOST, host);
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse().map_err(|error| nonsense(&error))?;

        let unreachable = |reason: String| TransportError::Connect {
            authority: target.authority.clone(),
            reason,
        };
        // Boxed, so that what connecting needs is not kept until the answer, minutes later.
        let connected = Box::pin(self.connect(&target));
        let mut sender = tokio::time::timeout(CONNECT_TIMEOUT, connected)
            .await
            .map_err(|_| unreachable(format!("no answer within {CONNECT_TIMEOUT:?}")))?
            .map_err(unreachable)?;
        let response = sender.send_request(request).await.map_err(TransportError::Broken)?;
        HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
            .map_err(|error| nonsense(&error))
    }

    /// A connection for requests with bodies of one kind. The error says why there is none.
    pub(crate) async fn connect<B: Sendable>(
        &self,
        target: &Target,
    ) -> Result<http1::SendRequest<B>, String> {
        let stream = TcpStream::connect((target.host.as_str(), target.port))
            .await
            .map_err(|error| error.to_string())?;
        tune(&stream).map_err(|error| error.to_string())?;
        if !target.tls {
            return handshake(stream).await;
        }
        let name = ServerName::try_from(target.host.clone()).map_err(|error| error.to_string())?;
        let stream = self.tls.connect(name, stream).await.map_err(|error| error.to_string())?;
        handshake(stream).await
    }
}

/// A body that can be sent.
pub(crate) trait Sendable:
    Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static
{
}

impl<B> Sendable for B where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static
{
}

/// Starts HTTP on a connection. It lives until the answer was read or nobody waits for it any more.
async fn handshake<B: Sendable>(stream: impl Io) -> Result<http1::SendRequest<B>, String> {
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        // The sender is told as well, and says it to the caller.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection that we made ended");
        }
    });
    Ok(sender)
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let transport = self.clone();
        HttpConnectorFuture::new(async move {
            transport.send(request).await.map_err(|error| match error {
                TransportError::Broken(_) => ConnectorError::other(error.into(), None),
                TransportError::Connect { .. } => {
                    ConnectorError::io(error.into()).never_connected()
                }
                TransportError::Request(_) => ConnectorError::user(error.into()),
            })
        })
    }
}

impl HttpClient for Transport {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

/// Where a URL leads.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) tls: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// As the `Host` header says it, and as the signature covers it: a default port is left out.
    pub(crate) authority: String,
}

impl Target {
    pub(crate) fn of(url: &Uri) -> Option<Self> {
        let tls = url.scheme() == Some(&Scheme::HTTPS);
        if !tls && url.scheme() != Some(&Scheme::HTTP) {
            return None;
        }
        let default = if tls { 443 } else { 80 };
        let host = url.host()?;
        let port = url.port_u16().unwrap_or(default);
        let authority = if port == default { host.to_owned() } else { format!("{host}:{port}") };
        let host = unbracketed(host).to_owned();
        Some(Self { tls, host, port, authority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    /// A TLS server that answers one request, and the store that trusts it.
    async fn tls_server() -> (SocketAddr, RootCertStore) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut head = [0; 4096];
                let read = stream.read(&mut head).await.unwrap();
                assert!(head[..read].starts_with(b"GET /x?y=1 HTTP/1.1\r\n"));
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            }
        });
        (address, roots)
    }

    fn get(port: u16) -> HttpRequest {
        HttpRequest::get(format!("https://localhost:{port}/x?y=1")).unwrap()
    }

    #[tokio::test]
    async fn a_trusted_server_is_talked_to() {
        let (address, roots) = tls_server().await;
        let response = Transport::new(roots).unwrap().send(get(address.port())).await.unwrap();
        assert_eq!(response.status().as_u16(), 204);
    }

    #[tokio::test]
    async fn a_server_that_nobody_vouches_for_gets_no_request() {
        let (address, _) = tls_server().await;
        let error = Transport::without_authorities()
            .unwrap()
            .send(get(address.port()))
            .await
            .expect_err("it must not be trusted");
        assert!(matches!(error, TransportError::Connect { .. }), "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }

    #[test]
    fn the_host_header_is_what_the_signature_covers() {
        for (url, authority, host, port) in [
            (
                "https://lambda.eu-west-1.amazonaws.com/a",
                "lambda.eu-west-1.amazonaws.com",
                "lambda.eu-west-1.amazonaws.com",
                443,
            ),
            ("http://127.0.0.1:9001/", "127.0.0.1:9001", "127.0.0.1", 9001),
            ("http://[::1]:80/", "[::1]", "::1", 80),
        ] {
            let target = Target::of(&url.parse().unwrap()).unwrap();
            assert_eq!(
                (target.authority.as_str(), target.host.as_str(), target.port),
                (authority, host, port)
            );
        }
        assert!(Target::of(&"ftp://x/".parse().unwrap()).is_none());
    }
}
