//! TLS with a router of the original, whose certificate proves nothing: its key is in a public
//! image. This keeps out who only listens, and nobody else.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio_rustls::{TlsConnector, client};

use crate::net::Io;
use crate::tls::{SERVER_NAME, TlsError, V1_PROTOCOL, link_provider};

/// Speaks TLS with a router, whatever its certificate.
///
/// # Errors
///
/// The handshake failed. How long it may take is the caller's decision.
pub async fn dial<S: Io>(io: S) -> Result<client::TlsStream<S>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(link_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Rustls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.alpn_protocols = vec![V1_PROTOCOL.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    let name = ServerName::try_from(SERVER_NAME).expect("the constant is a valid name");
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, io)
        .await
        .map_err(TlsError::Handshake)?;
    match stream.get_ref().1.alpn_protocol() {
        Some(V1_PROTOCOL) => Ok(stream),
        Some(_) | None => Err(TlsError::Protocol),
    }
}

/// Accepts every server.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken on this link".to_owned()))
    }

    /// A certificate that proves nothing has no key to prove.
    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ED25519,
        ]
    }
}
