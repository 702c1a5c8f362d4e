//! Each way in which clients may speak with the router.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::Client;
use crate::messages::fails;
use crate::stage::{Stage, until};

/// The path of a file with `text` in `folder`.
fn written(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A certificate for localhost, as PEM: the certificate and its key.
fn certificate() -> (CertificateDer<'static>, String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.der().clone(), made.cert.pem(), made.signing_key.serialize_pem())
}

async fn tls(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    protocol: &[u8],
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
    stream
}

/// The statuses and bodies of requests that are all sent at once on one connection.
async fn http2<S>(io: S, scheme: &str, targets: &[&str]) -> Vec<(u16, String)>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut requests, connection) = h2::client::handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut responses = Vec::new();
    for target in targets {
        let uri = format!("{scheme}://localhost{target}");
        let request = Request::builder().uri(uri).body(()).unwrap();
        requests = requests.ready().await.unwrap();
        responses.push(requests.send_request(request, true).unwrap().0);
    }
    let mut answers = Vec::new();
    for response in responses {
        let (head, mut body) = response.await.unwrap().into_parts();
        let mut bytes = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk: Bytes = chunk.unwrap();
            body.flow_control().release_capacity(chunk.len()).unwrap();
            bytes.extend_from_slice(&chunk);
        }
        answers.push((head.status.as_u16(), String::from_utf8(bytes).unwrap()));
    }
    connection.abort();
    answers
}

#[tokio::test]
async fn clients_are_served_over_http1_and_http2_with_and_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (trusted, chain, key) = certificate();
    let stage = Stage::demo(&[
        &format!("listen.certificate={}", written(&folder, "chain.pem", &chain)),
        &format!("listen.key={}", written(&folder, "key.pem", &key)),
    ])
    .await;
    let targets = ["/", "/sleep?ms=10", "/nothing"];
    let statuses = [200, 200, 404];

    let mut plain = Client::connect(stage.router.http).await;
    let mut over_tls = Client::over(tls(stage.router.https, &trusted, b"http/1.1").await);
    for (target, status) in targets.iter().zip(statuses) {
        assert_eq!(plain.get(target).await.unwrap().status, status, "{target}");
        assert_eq!(over_tls.get(target).await.unwrap().status, status, "{target} over TLS");
    }

    let prior_knowledge = TcpStream::connect(stage.router.http).await.unwrap();
    let cleartext = http2(prior_knowledge, "http", &targets).await;
    let by_alpn = http2(tls(stage.router.https, &trusted, b"h2").await, "https", &targets).await;
    for answers in [cleartext, by_alpn] {
        assert_eq!(answers.iter().map(|answer| answer.0).collect::<Vec<_>>(), statuses);
        assert!(answers[0].1.contains("It works"), "{}", answers[0].1);
    }
}

#[tokio::test]
async fn certificate_that_cannot_be_used_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let (_, chain, key) = certificate();
    let (_, _, other_key) = certificate();
    let (chain, key) = (written(&folder, "chain.pem", &chain), written(&folder, "key.pem", &key));
    let other_key = written(&folder, "other.pem", &other_key);
    let empty = written(&folder, "empty.pem", "not a certificate\n");
    let missing = folder.path().join("missing.pem");
    let missing = missing.to_str().unwrap();
    for (chain, key, named) in [
        (missing, key.as_str(), missing),
        (&chain, missing, missing),
        (&empty, &key, &empty),
        (&chain, &empty, &empty),
        (&chain, &other_key, &other_key),
    ] {
        let settings = [format!("listen.certificate={chain}"), format!("listen.key={key}")];
        let said = fails(|command| {
            for setting in &settings {
                command.args(["--set", setting]);
            }
        })
        .await;
        assert!(said.contains(named), "{named} is not in: {said}");
        assert!(said.contains("listen.certificate and listen.key cannot be used"), "{said}");
        assert!(said.matches("os error").count() <= 1, "its cause is told once: {said}");
    }
    let half = fails(|command| {
        command.args(["--set", &format!("listen.certificate={chain}")]);
    })
    .await;
    assert!(half.contains("listen.key"), "{half}");
}

#[tokio::test]
async fn renewed_certificate_is_shown_from_the_next_handshake_on() {
    let folder = tempfile::tempdir().unwrap();
    let (old, chain, key) = certificate();
    let (chain_path, key_path) =
        (written(&folder, "chain.pem", &chain), written(&folder, "key.pem", &key));
    let stage = Stage::demo(&[
        &format!("listen.certificate={chain_path}"),
        &format!("listen.key={key_path}"),
    ])
    .await;
    let router = &stage.router;
    let mut standing = Client::over(tls(router.https, &old, b"http/1.1").await);
    assert_eq!(standing.get("/").await.unwrap().status, 200);

    let (new, chain, key) = certificate();
    written(&folder, "chain.pem", &chain);
    router.signal(Signal::HUP);
    let says = async |text: &str| until(text, async || router.log().contains(text)).await;
    says("the settings stay as they were").await;
    assert!(router.log().contains("key.pem cannot be used with the certificate"));
    let mut same = Client::over(tls(router.https, &old, b"http/1.1").await);
    assert_eq!(same.get("/").await.unwrap().status, 200);

    written(&folder, "key.pem", &key);
    router.signal(Signal::HUP);
    says("the settings were taken over").await;
    let mut renewed = Client::over(tls(router.https, &new, b"http/1.1").await);
    for client in [&mut standing, &mut same, &mut renewed] {
        assert_eq!(client.get("/").await.unwrap().status, 200);
    }
}
