//! The certificate that clients are shown. It can be replaced while they are served, for it is
//! renewed more often than a router is started: connections that stand do not notice, and the next
//! handshake shows the new one.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ServerConfig};

use super::TlsError;

/// A certificate with its chain and its key, for clients.
#[derive(Clone, Debug)]
pub struct ClientCertificate(Arc<CertifiedKey>);

impl ClientCertificate {
    /// From two PEM files: the certificate with its chain, and its key.
    ///
    /// # Errors
    ///
    /// Each names the file and what is wrong with it.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::Pem { path, source }
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(unreadable(certificate))?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate { path: certificate.to_owned() });
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
        let certified =
            CertifiedKey::from_der(chain, private, &default_provider()).map_err(|source| {
                let certificate = certificate.to_owned();
                if is_of_old_version(&source) {
                    return TlsError::OldCertificate { path: certificate };
                }
                TlsError::Pair { certificate, key: key.to_owned(), source }
            })?;
        Ok(Self(Arc::new(certified)))
    }
}

fn is_of_old_version(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error else {
        return false;
    };
    matches!(other.0.downcast_ref(), Some(webpki::Error::UnsupportedCertVersion))
}

/// Shows clients the certificate of the day.
#[derive(Debug)]
pub struct ClientFacing {
    shown: RwLock<ClientCertificate>,
}

impl ClientFacing {
    /// Shows `certificate` until another one is to be shown.
    #[must_use]
    pub fn new(certificate: ClientCertificate) -> Arc<Self> {
        Arc::new(Self { shown: RwLock::new(certificate) })
    }

    /// Shows `certificate` from the next handshake on.
    pub fn show(&self, certificate: ClientCertificate) {
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = certificate;
    }

    /// How to speak with clients: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    ///
    /// [`TlsError::Rustls`], if rustls cannot do what it is asked for by default.
    pub fn config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Rustls)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for ClientFacing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown.0))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    #[test]
    fn files_for_clients_are_named_when_they_are_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let (pem, key, empty) = (file("c.pem"), file("k.pem"), file("e.pem"));
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&pem, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        std::fs::write(&empty, "nothing\n").unwrap();

        let facing = ClientFacing::new(ClientCertificate::load(&pem, &key).unwrap());
        let config = facing.config().unwrap();
        assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        let message = |certificate: &Path, key: &Path| {
            ClientCertificate::load(certificate, key).unwrap_err().to_string()
        };
        assert!(message(&file("gone.pem"), &key).contains("gone.pem"));
        assert!(message(&empty, &key).contains("e.pem holds no certificate"));
        assert!(message(&pem, &empty).contains("e.pem"));
        let other = rcgen::KeyPair::generate().unwrap();
        std::fs::write(&key, other.serialize_pem()).unwrap();
        assert!(message(&pem, &key).contains("k.pem cannot be used with the certificate"));
    }

    #[test]
    fn certificate_that_is_old_or_cut_is_not_blamed_on_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let (pem, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let message = |text: &str| {
            std::fs::write(&pem, text).unwrap();
            ClientCertificate::load(&pem, &key).unwrap_err().to_string()
        };

        let mut der = made.cert.der().to_vec();
        let version_3 = der.windows(5).position(|it| it == [0xa0, 3, 2, 1, 2]).unwrap();
        der[version_3 + 4] = 0;
        let body = base64::prelude::BASE64_STANDARD.encode(der);
        let old =
            message(&format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"));
        assert!(old.contains("c.pem is of X.509 version 1"), "{old}");
        assert!(!old.contains("k.pem"), "{old}");

        let whole = made.cert.pem();
        let cut = message(whole.split_once("-----END").unwrap().0);
        assert!(cut.contains("c.pem as PEM: it is cut"), "{cut}");
        assert!(cut.contains("`-----END CERTIFICATE-----`"), "{cut}");
        let odd = message("-----BEGIN CERTIFICATE\n");
        assert!(odd.contains("`-----BEGIN CERTIFICATE`"), "{odd}");
    }
}
