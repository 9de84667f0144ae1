//! TLS with NATS servers, for both connections.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::pem;

use super::settings::TlsFiles;

/// Reads the files. Errors name them.
pub(super) fn client_config(files: &TlsFiles) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match &files.ca {
        Some(file) => {
            for certificate in pem::certificates(file)? {
                roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
            }
        }
        None => {
            // What cannot be read is not trusted; with none at all, only servers without TLS can be reached.
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let Some((cert, key)) = &files.identity else { return Ok(builder.with_no_client_auth()) };
    let chain = pem::certificates(cert)?;
    let private = pem::private_key(key)?;
    builder
        .with_client_auth_cert(chain, private)
        .map_err(|error| format!("{} and {}: {error}", cert.display(), key.display()))
}
