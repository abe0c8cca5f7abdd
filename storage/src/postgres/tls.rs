//! How connections are protected, by the modes of
//! <https://www.postgresql.org/docs/15/libpq-ssl.html#LIBPQ-SSL-PROTECTION>.

use std::fmt::Display;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use model::storage_url::{PgHost, PgTls, PostgresUrl};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::Fault;
use crate::StoreError;

/// What makes TLS of a connection, as `url` says.
pub(super) fn connector(url: &PostgresUrl) -> Result<MakeRustlsConnect, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(url, &provider)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("TLS", error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match (&url.client_certificate, &url.client_key) {
        (Some(certificate), Some(key)) => {
            check_private(key)?;
            let chain = certificates(certificate)?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key.display(), error))?;
            let config = config.with_client_auth_cert(chain, secret);
            config.map_err(|error| unusable(certificate.display(), error))?
        }
        _ => config.with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

/// What looks at the server's certificate.
fn verifier(url: &PostgresUrl, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Fault> {
    let by_tcp = url.servers.iter().any(|server| matches!(server.host, PgHost::Name(_)));
    let unnamed = |roots| Arc::new(Unnamed { roots, provider: Arc::clone(provider) });
    match url.tls {
        _ if !by_tcp => Ok(unnamed(None)),
        PgTls::Disable => Ok(unnamed(None)),
        // As libpq does: whose root is named is verified.
        PgTls::Require if url.ca_file.is_none() => Ok(unnamed(None)),
        PgTls::Require | PgTls::VerifyCa => Ok(unnamed(Some(roots(url)?))),
        PgTls::VerifyFull => {
            let roots = Arc::new(roots(url)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
            Ok(verifier.map_err(|error| unusable("the certificates to trust", error))?)
        }
    }
}

/// The certificates that are trusted.
fn roots(url: &PostgresUrl) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &url.ca_file {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| unusable(path.display(), error))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let why = "this system trusts none; name a file of certificates to trust";
            return Err(unusable("the certificates to trust", why));
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| unusable(path.display(), error))?;
    if found.is_empty() { Err(unusable(path.display(), "there is no certificate in it")) } else { Ok(found) }
}

/// As libpq does: a key that others may read is not used; root's may be read by its group.
fn check_private(key: &Path) -> Result<(), Fault> {
    let about = fs::metadata(key).map_err(|error| unusable(key.display(), error))?;
    let others = if about.uid() == 0 { 0o037 } else { 0o077 };
    if about.permissions().mode() & others != 0 {
        return Err(unusable(key.display(), format!("others may read it: chmod 0600 {}", key.display())));
    }
    Ok(())
}

fn unusable(what: impl Display, why: impl Display) -> Fault {
    StoreError::Unreachable(format!("{what}: {why}")).into()
}

/// Takes a server's certificate for whatever name; where there are roots, of one of them.
#[derive(Debug)]
struct Unnamed {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Unnamed {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(certificate)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, between, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
