//! TLS with callers: the certificate, which is read again when its files change, so that whoever renews it has nothing to do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{InconsistentKeys, ServerConfig};

use crate::metrics::Metrics;
use crate::pem;

/// How often the files are looked at. A certificate is renewed days before it expires.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A certificate with the chain behind it, and its key: PEM files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFiles {
    /// The certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The certificate that callers get from now on.
#[derive(Debug)]
pub(super) struct Certificate {
    files: CertificateFiles,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
}

#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _caller: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificate {
    /// Reads the files. Errors name them.
    pub(super) fn load(files: CertificateFiles) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let current = Arc::new(Current(ArcSwap::from_pointee(read(&files, &provider)?)));
        Ok(Self { files, provider, current })
    }

    /// Does the handshakes: TLS 1.2 and 1.3, and by ALPN HTTP/2 before HTTP/1.1.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, String> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let resolver: Arc<Current> = Arc::clone(&self.current);
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Takes what the files have from time to time, for ever. What cannot be used changes nothing: files that are replaced
    /// one after the other do not fit each other for a moment.
    pub(super) async fn follow(&self, metrics: &Metrics) {
        let mut told = String::new();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match read(&self.files, &self.provider) {
                Ok(now) if now.cert == self.current.0.load().cert => told.clear(),
                Ok(now) => {
                    told.clear();
                    self.current.0.store(Arc::new(now));
                    metrics.certificate_reloaded(true);
                    tracing::info!(file = %self.files.cert.display(), "callers get the new certificate");
                }
                Err(error) if error == told => {}
                Err(error) => {
                    metrics.certificate_reloaded(false);
                    tracing::warn!(error, "the new certificate is not used; callers still get the old one");
                    told = error;
                }
            }
        }
    }
}

fn read(files: &CertificateFiles, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let chain = pem::certificates(&files.cert)?;
    let named = |error| format!("{}: {error}", files.key.display());
    let key = provider.key_provider.load_private_key(pem::private_key(&files.key)?).map_err(named)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // A kind of key that cannot be compared.
        Ok(()) | Err(tokio_rustls::rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
            Ok(certified)
        }
        Err(error) => Err(format!("{} and {}: {error}", files.cert.display(), files.key.display())),
    }
}
