//! TLS on both sides of the router.
//!
//! *Towards instances* there is nothing to deploy: at start the router makes keys and certificates
//! in memory ([`RouterIdentity`]), the invoke payload carries their SHA-256 (the *pins*), and the
//! extension accepts exactly these certificates and no other ([`dial`]). It really verifies the
//! handshake's signature as well, because a certificate is public and proves nothing by itself.
//! There are always two, the current one and the next, which takes over after 12 hours; then a new
//! next one is made. So each payload names the certificate that the router will show, however soon
//! after the turn its instance dials; connections that stand do not notice.
//! TLS 1.3 only, ALPN `lambda-dispatch/2`, no resumption: a frozen instance keeps no session, and
//! each connection has its own exporter, which the attach handshake signs.
//!
//! *Towards clients* the certificate comes from PEM files ([`ClientFacing`]), with TLS 1.2 and
//! 1.3 and ALPN `h2` and `http/1.1`.
//!
//! The cryptography is ring's, named in each configuration and never installed for the process.

mod client_facing;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dispatch_model::Time;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::{cipher_suite, kx_group};
use rustls::crypto::{
    CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms,
};
use rustls::pki_types::pem;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::SigningKey;
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use thiserror::Error;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use webpki::ring::ECDSA_P256_SHA256;

use crate::attach::PROTOCOL;
use crate::clock::Clock;
use crate::hex;
use crate::net::Io;

pub use client_facing::{ClientCertificate, ClientFacing};

/// The keys and certificates that the router shows to its instances. They live in memory only, and
/// no longer than [`LIFETIME`].
#[derive(Clone)]
pub struct RouterIdentity(Arc<Rotating>);

struct Rotating {
    clock: Clock,
    half_life: Duration,
    held: Mutex<Held>,
}

struct Held {
    /// Shown to whoever dials.
    current: Certified,
    /// Will be, from `turn` on.
    next: Certified,
    turn: Time,
    /// Whether the original's wire is spoken too.
    v1: bool,
}

#[derive(Clone)]
struct Certified {
    certificate: CertificateDer<'static>,
    config: Arc<ServerConfig>,
}

impl RouterIdentity {
    /// A fresh one: ECDSA P-256, self-signed.
    ///
    /// # Errors
    ///
    /// [`TlsError::Identity`], if the system gives no randomness.
    pub fn generate() -> Result<Self, TlsError> {
        Self::generate_for(LIFETIME, Clock::start())
    }

    /// A fresh one, of which each certificate is used for `lifetime` by `clock`: named by payloads
    /// for the first half, shown in the second. A payload must not be older than half of it when
    /// its instance dials.
    ///
    /// # Errors
    ///
    /// As [`Self::generate`].
    pub fn generate_for(lifetime: Duration, clock: Clock) -> Result<Self, TlsError> {
        let half_life = lifetime / 2;
        let turn = clock.now() + half_life;
        let (current, next) = (Certified::generate()?, Certified::generate()?);
        let held = Held { current, next, turn, v1: false };
        Ok(Self(Arc::new(Rotating { clock, half_life, held: Mutex::new(held) })))
    }

    /// The same, for instances on the original's wire as well: ALPN `h2`.
    #[must_use]
    pub fn and_v1(self) -> Self {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Held { current, next, v1, .. } = &mut *held;
        for certified in [current, next].into_iter().filter(|_| !*v1) {
            certified.speak_v1();
        }
        *v1 = true;
        drop(held);
        self
    }

    /// The SHA-256 of the current certificate and of the next, in hexadecimal, as the invoke
    /// payload carries them.
    #[must_use]
    pub fn pins(&self) -> Vec<String> {
        self.held(|held| [&held.current, &held.next].map(Certified::pin)).into()
    }

    /// Accepts TLS from somebody who wants to attach; also gives the exporter of the connection.
    ///
    /// # Errors
    ///
    /// The handshake failed. How long it may take is the caller's decision.
    pub async fn accept<S: Io>(&self, io: S) -> Result<(server::TlsStream<S>, Exporter), TlsError> {
        let (stream, exporter) = self.accept_either(io).await?;
        require_protocol(stream.get_ref().1.alpn_protocol())?;
        Ok((stream, exporter))
    }

    /// As [`accept`](Self::accept), and also somebody on the original's wire if that is enabled.
    pub(crate) async fn accept_either<S: Io>(
        &self,
        io: S,
    ) -> Result<(server::TlsStream<S>, Exporter), TlsError> {
        let config = self.held(|held| Arc::clone(&held.current.config));
        let stream = TlsAcceptor::from(config).accept(io).await.map_err(TlsError::Handshake)?;
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(V1_PROTOCOL) {
            require_protocol(session.alpn_protocol())?;
        }
        let exporter = session
            .export_keying_material([0; 32], EXPORTER_LABEL, None)
            .map_err(TlsError::Rustls)?;
        Ok((stream, exporter))
    }

    /// Looks at what is held now.
    fn held<T>(&self, look: impl FnOnce(&Held) -> T) -> T {
        let Rotating { clock, half_life, held } = &*self.0;
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock.now();
        if now >= held.turn {
            match Certified::generate() {
                Ok(mut fresh) => {
                    if held.v1 {
                        fresh.speak_v1();
                    }
                    held.current = std::mem::replace(&mut held.next, fresh);
                    // Counted from now, so that what was named last is shown for as long as that.
                    held.turn = now + *half_life;
                    tracing::info!("instances are shown the next certificate from now on");
                }
                Err(error) => tracing::warn!(%error, "the certificate for instances stays"),
            }
        }
        look(&held)
    }
}

impl Certified {
    fn generate() -> Result<Self, TlsError> {
        let key = rcgen::KeyPair::generate().map_err(TlsError::Identity)?;
        let params = rcgen::CertificateParams::new(vec![SERVER_NAME.to_owned()])
            .map_err(TlsError::Identity)?;
        let certificate = params.self_signed(&key).map_err(TlsError::Identity)?.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(link_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Rustls)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .map_err(TlsError::Rustls)?;
        config.alpn_protocols = vec![PROTOCOL.as_bytes().to_vec()];
        config.send_tls13_tickets = 0;
        Ok(Self { certificate, config: Arc::new(config) })
    }

    fn speak_v1(&mut self) {
        Arc::make_mut(&mut self.config).alpn_protocols.push(V1_PROTOCOL.to_vec());
    }

    fn pin(&self) -> String {
        hex::encode(&sha256(&self.certificate))
    }
}

impl std::fmt::Debug for RouterIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouterIdentity").field("pins", &self.pins()).finish_non_exhaustive()
    }
}

/// How long a certificate of a [`RouterIdentity`] is used.
pub const LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// 32 bytes that both ends of one TLS connection derive, and nobody else can.
pub type Exporter = [u8; 32];

/// The cryptography of this one link: both ends are ours, so there is nothing to negotiate.
///
/// Naming only what is used keeps the rest of ring out of the extension's binary.
pub(crate) fn link_provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519],
        signature_verification_algorithms: LINK_SIGNATURES,
        secure_random: &LinkKeys,
        key_provider: &LinkKeys,
    })
}

static LINK_SIGNATURES: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[ECDSA_P256_SHA256],
    mapping: &[(SignatureScheme::ECDSA_NISTP256_SHA256, &[ECDSA_P256_SHA256])],
};

/// Randomness from the operating system, and private keys as [`RouterIdentity`] makes them.
#[derive(Debug)]
struct LinkKeys;

impl SecureRandom for LinkKeys {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        let random = ring::rand::SystemRandom::new();
        ring::rand::SecureRandom::fill(&random, bytes).map_err(|_| GetRandomFailed)
    }
}

impl KeyProvider for LinkKeys {
    fn load_private_key(
        &self,
        key: PrivateKeyDer<'static>,
    ) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        rustls::crypto::ring::sign::any_ecdsa_type(&key)
    }
}

/// Speaks TLS with a router that must hold one of the pinned certificates; also gives the exporter
/// of the connection.
///
/// # Errors
///
/// The handshake failed, or the router showed another certificate. How long it may take is the
/// caller's decision.
pub async fn dial<S: Io>(
    io: S,
    pins: &[[u8; 32]],
) -> Result<(client::TlsStream<S>, Exporter), TlsError> {
    let provider = link_provider();
    let verifier = PinnedCertificate { pins: pins.to_vec(), provider: Arc::clone(&provider) };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Rustls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.as_bytes().to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_sni = false;
    let name = ServerName::try_from(SERVER_NAME).expect("the constant is a valid name");
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, io)
        .await
        .map_err(TlsError::Handshake)?;
    let (_, session) = stream.get_ref();
    require_protocol(session.alpn_protocol())?;
    let exporter =
        session.export_keying_material([0; 32], EXPORTER_LABEL, None).map_err(TlsError::Rustls)?;
    Ok((stream, exporter))
}

/// Whether the peer speaks the original's wire.
pub(crate) fn is_v1<S>(stream: &server::TlsStream<S>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(V1_PROTOCOL)
}

fn require_protocol(agreed: Option<&[u8]>) -> Result<(), TlsError> {
    if agreed == Some(PROTOCOL.as_bytes()) { Ok(()) } else { Err(TlsError::Protocol) }
}

/// Accepts a server that holds the key of one of the pinned certificates.
#[derive(Debug)]
struct PinnedCertificate {
    pins: Vec<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pins.contains(&sha256(end_entity)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General(
                "the router's certificate is not the one that the invoke payload names".to_owned(),
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken on this link".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Why TLS is not to be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The peers did not come to an agreement, or the connection broke.
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[source] std::io::Error),
    /// No certificate could be made.
    #[error("cannot make a certificate for the instance listener: {0}")]
    Identity(#[source] rcgen::Error),
    /// A file without a certificate.
    #[error("{} holds no certificate; it must hold PEM blocks marked CERTIFICATE", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A certificate of a version that has no extensions.
    #[error(
        "the certificate {} is of X.509 version 1 and must be of version 3; make it anew with \
         extensions, as in `openssl req -x509 -addext subjectAltName=DNS:NAME`",
        path.display()
    )]
    OldCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A key that does not belong to its certificate, or of a kind that is not supported.
    #[error("the key {} cannot be used with the certificate {}: {source}", key.display(), certificate.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// A file that cannot be read or is not PEM.
    #[error("cannot read {} as PEM: {}", path.display(), told(source))]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// The peer speaks TLS, but something else inside it.
    #[error("the peer does not speak {PROTOCOL} (ALPN)")]
    Protocol,
    /// A configuration that rustls does not accept.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[source] rustls::Error),
}

/// What is wrong with a PEM file, where its lines are text.
fn told(error: &pem::Error) -> String {
    if let pem::Error::MissingSectionEnd { end_marker } = error {
        let label = String::from_utf8_lossy(end_marker);
        return format!("it is cut, for a line `-----END {label}-----` is missing");
    }
    if let pem::Error::IllegalSectionStart { line } = error {
        let line = String::from_utf8_lossy(line);
        return format!("the line `{}` begins no section", line.trim_end());
    }
    error.to_string()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("a SHA-256 has 32 bytes")
}

/// In the certificate for form's sake; what counts is the pin.
pub(crate) const SERVER_NAME: &str = "lambda-dispatch.invalid";
/// HTTP/2 as the original speaks it. No client can agree on it unless it is offered.
pub(crate) const V1_PROTOCOL: &[u8] = b"h2";
const EXPORTER_LABEL: &[u8] = b"EXPORTER-lambda-dispatch-attach";

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn pins_of(identity: &RouterIdentity) -> Vec<[u8; 32]> {
        identity.pins().iter().map(|pin| hex::decode(pin.as_bytes()).unwrap()).collect()
    }

    async fn meet(
        pins: &[[u8; 32]],
        identity: &RouterIdentity,
    ) -> Result<client::TlsStream<tokio::io::DuplexStream>, TlsError> {
        let (near, far) = duplex(64 * 1024);
        let (dialled, accepted) = tokio::join!(dial(near, pins), identity.accept(far));
        if let Ok((mut far, _)) = accepted {
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(&mut far);
                tokio::io::copy(&mut read, &mut write).await
            });
        }
        dialled.map(|(stream, _)| stream)
    }

    async fn echoes(stream: &mut client::TlsStream<tokio::io::DuplexStream>) -> bool {
        stream.write_all(b"hello").await.unwrap();
        stream.flush().await.unwrap();
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await.is_ok() && &heard == b"hello"
    }

    #[tokio::test(start_paused = true)]
    async fn certificates_take_turns_and_nothing_is_dropped() {
        let identity = RouterIdentity::generate_for(LIFETIME, Clock::start()).unwrap();
        let first = pins_of(&identity);
        let mut standing = meet(&first[..1], &identity).await.unwrap();
        assert!(meet(&first[1..], &identity).await.is_err(), "the next is not shown yet");

        tokio::time::sleep(LIFETIME / 2 - Duration::from_secs(1)).await;
        assert_eq!(pins_of(&identity), first);
        tokio::time::sleep(Duration::from_secs(2)).await;
        // A payload from before the turn still names what is shown after it.
        assert!(meet(&first, &identity).await.is_ok());
        assert!(meet(&first[..1], &identity).await.is_err(), "the first has had its turn");
        let second = pins_of(&identity);
        assert_eq!(second[0], first[1]);
        assert!(!first.contains(&second[1]));
        assert!(echoes(&mut standing).await, "what stands does not notice");

        tokio::time::sleep(LIFETIME / 2).await;
        assert!(meet(&second, &identity).await.is_ok());
        assert!(meet(&first, &identity).await.is_err(), "too old");
        assert!(echoes(&mut standing).await);
    }

    #[tokio::test]
    async fn only_tls_1_3_and_our_own_protocol_are_spoken() {
        let identity = RouterIdentity::generate().unwrap();
        let pins = pins_of(&identity);
        let strangers = |versions: &[&'static rustls::SupportedProtocolVersion], alpn: &[u8]| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier = PinnedCertificate { pins: pins.clone(), provider: link_provider() };
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(versions)
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
                .with_no_client_auth();
            config.alpn_protocols = if alpn.is_empty() { Vec::new() } else { vec![alpn.to_vec()] };
            TlsConnector::from(Arc::new(config))
        };
        for (versions, alpn) in [
            (&[&rustls::version::TLS12], PROTOCOL.as_bytes()),
            (&[&rustls::version::TLS13], b"h2"),
            (&[&rustls::version::TLS13], b""),
        ] {
            let (near, far) = duplex(64 * 1024);
            let name = ServerName::try_from(SERVER_NAME).unwrap();
            let connector = strangers(versions, alpn);
            let (_, accepted) = tokio::join!(connector.connect(name, near), identity.accept(far));
            assert!(accepted.is_err(), "{versions:?} {}", String::from_utf8_lossy(alpn));
        }
    }

    #[tokio::test]
    async fn both_ends_of_a_pinned_connection_derive_the_same_exporter() {
        let identity = RouterIdentity::generate().unwrap();
        let (near, far) = duplex(64 * 1024);
        let pins = [[0; 32], pins_of(&identity)[0]];
        let (dialled, accepted) = tokio::join!(dial(near, &pins), identity.accept(far));
        let (mut near, near_exporter) = dialled.unwrap();
        let (mut far, far_exporter) = accepted.unwrap();
        assert_eq!(near_exporter, far_exporter);
        near.write_all(b"hello").await.unwrap();
        near.flush().await.unwrap();
        let mut heard = [0; 5];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
    }

    #[tokio::test]
    async fn another_certificate_is_refused() {
        let identity = RouterIdentity::generate().unwrap();
        let other = RouterIdentity::generate().unwrap();
        let (near, far) = duplex(64 * 1024);
        let pins = pins_of(&other);
        let (dialled, accepted) = tokio::join!(dial(near, &pins), identity.accept(far));
        let error = dialled.unwrap_err().to_string();
        assert!(error.contains("not the one that the invoke payload names"), "{error}");
        assert!(accepted.is_err());
    }

    /// Somebody in between who saw the certificate, which is public, but has not its key.
    #[tokio::test]
    async fn the_right_certificate_without_its_key_is_refused() {
        let router = RouterIdentity::generate().unwrap();
        let thief = rcgen::KeyPair::generate().unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(thief.serialize_der()));
        let signer = rustls::crypto::ring::sign::any_ecdsa_type(&key).unwrap();
        let stolen = router.held(|held| held.current.certificate.clone());
        let certified = rustls::sign::CertifiedKey::new(vec![stolen.clone()], signer);
        let resolver = rustls::sign::SingleCertAndKey::from(certified);
        let mut config = ServerConfig::builder_with_provider(link_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![PROTOCOL.as_bytes().to_vec()];
        let thief = RouterIdentity::generate().unwrap();
        let shown = Certified { certificate: stolen, config: config.into() };
        thief.0.held.lock().unwrap().current = shown;

        let (near, far) = duplex(64 * 1024);
        let pins = pins_of(&router);
        let (dialled, _) = tokio::join!(dial(near, &pins), thief.accept(far));
        let error = dialled.unwrap_err().to_string();
        assert!(error.contains("BadSignature"), "{error}");
    }
}
