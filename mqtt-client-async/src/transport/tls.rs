//! TLS over any carrier, with rustls.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::filling::Filling;
use super::{Carrier, Transport};
use crate::error::TransportError;

/// Why TLS could not be set up, with the file concerned and what helps.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file, or bytes that were given, contain nothing of the kind.
    #[error("no {what} in {place}; it should be in PEM (a text that begins with -----BEGIN) or DER form")]
    Nothing {
        /// What was looked for.
        what: &'static str,
        /// Where.
        place: String,
    },
    /// The system has no roots of trust.
    #[error("the system's roots of trust cannot be read: {0}; name the server's CA with TlsOptions::ca_file")]
    NativeRoots(String),
    /// The client certificate and its key do not go together, or are of a kind that is not known.
    #[error("the client certificate and its key cannot be used: {0}; the key must be the certificate's own")]
    ClientCertificate(String),
    /// Not a name that a certificate can have.
    #[error("{0:?} is no name of a server; certificates are for DNS names and IP addresses")]
    ServerName(String),
    /// The library refuses the configuration.
    #[error("{0}")]
    Configuration(String),
}

/// Whom to trust, and how to show who we are.
///
/// ```
/// use mqtt_client_async::transport::TlsOptions;
/// let missing = TlsOptions::new().ca_file("no-such-ca.pem");
/// let words = missing.build().unwrap_err().to_string();
/// assert!(words.starts_with("cannot read no-such-ca.pem: "));
/// ```
#[derive(Clone, Default)]
pub struct TlsOptions {
    native_roots: bool,
    authorities: Vec<Source>,
    certificate: Option<(Source, Source)>,
    protocols: Vec<Vec<u8>>,
    config: Option<Arc<ClientConfig>>,
}

/// Where certificates and keys come from.
#[derive(Clone)]
enum Source {
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl Source {
    fn read(&self) -> Result<Vec<u8>, TlsError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::File(path) => std::fs::read(path)
                .map_err(|error| TlsError::File { path: path.clone(), reason: error.to_string() }),
        }
    }

    fn nothing(&self, what: &'static str) -> TlsError {
        let place = match self {
            Self::File(path) => path.display().to_string(),
            Self::Bytes(_) => "the bytes that were given".to_owned(),
        };
        TlsError::Nothing { what, place }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let bytes = self.read()?;
        let certificates = if is_pem(&bytes) {
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
            found.map_err(|_| self.nothing("certificate"))?
        } else {
            vec![CertificateDer::from(bytes)]
        };
        if certificates.is_empty() { Err(self.nothing("certificate")) } else { Ok(certificates) }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let bytes = self.read()?;
        let nothing = || self.nothing("private key without a pass phrase");
        if is_pem(&bytes) {
            PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| nothing())
        } else {
            PrivateKeyDer::try_from(bytes).map_err(|_| nothing())
        }
    }
}

fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(10).any(|window| window == b"-----BEGIN")
}

impl TlsOptions {
    /// The system's roots of trust, unless others are named; no client certificate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A configuration of rustls as it is; everything else that is set here is ignored.
    #[must_use]
    pub fn with_config(config: Arc<ClientConfig>) -> Self {
        Self { config: Some(config), ..Self::default() }
    }

    /// The system's roots of trust beside those that are named.
    #[must_use]
    pub fn native_roots(self) -> Self {
        Self { native_roots: true, ..self }
    }

    /// Trusts the certificates in this file, PEM or DER.
    #[must_use]
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Self {
        self.authorities.push(Source::File(path.as_ref().to_owned()));
        self
    }

    /// Trusts these certificates, PEM or DER.
    #[must_use]
    pub fn ca(mut self, certificates: impl Into<Vec<u8>>) -> Self {
        self.authorities.push(Source::Bytes(certificates.into()));
        self
    }

    /// Shows the certificate, with those that lead to its CA behind it, in the first file; its key is in the second. PEM
    /// or DER, any kind of key.
    #[must_use]
    pub fn client_certificate_files(self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        let file = |path: &Path| Source::File(path.to_owned());
        Self { certificate: Some((file(certificate.as_ref()), file(key.as_ref()))), ..self }
    }

    /// The same with bytes in place of files.
    #[must_use]
    pub fn client_certificate(self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        Self { certificate: Some((Source::Bytes(certificate.into()), Source::Bytes(key.into()))), ..self }
    }

    /// Offers this protocol (ALPN), beside those offered before: `x-amzn-mqtt-ca` for AWS on port 443.
    #[must_use]
    pub fn alpn(mut self, protocol: impl Into<Vec<u8>>) -> Self {
        self.protocols.push(protocol.into());
        self
    }

    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn build(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = &self.config {
            return Ok(config.clone());
        }
        let refused = |error: rustls::Error| TlsError::Configuration(error.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_root_certificates(self.roots()?);
        let mut config = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(certificate.certificates()?, key.key()?)
                .map_err(|error| TlsError::ClientCertificate(error.to_string()))?,
        };
        config.alpn_protocols.clone_from(&self.protocols);
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        if self.native_roots || self.authorities.is_empty() {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
                return Err(TlsError::NativeRoots(errors.join("; ")));
            }
        }
        for authority in &self.authorities {
            for certificate in authority.certificates()? {
                roots.add(certificate).map_err(|_| authority.nothing("certificate"))?;
            }
        }
        Ok(roots)
    }
}

/// Keys are not printed.
impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("authorities", &self.authorities.len())
            .field("certificate", &self.certificate.is_some())
            .finish_non_exhaustive()
    }
}

/// A carrier with TLS over it.
#[derive(Clone)]
pub struct Tls {
    below: Arc<dyn Transport>,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl Tls {
    /// TLS over `below` with a server that must show a certificate for `name`.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(below: Arc<dyn Transport>, name: &str, options: &TlsOptions) -> Result<Self, TlsError> {
        let name =
            ServerName::try_from(name.to_owned()).map_err(|_| TlsError::ServerName(name.to_owned()))?;
        Ok(Self { below, name, config: options.build()? })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).field("below", &self.below).finish_non_exhaustive()
    }
}

#[async_trait]
impl Transport for Tls {
    async fn connect(&self) -> Result<Box<dyn Carrier>, TransportError> {
        let carrier = self.below.connect().await?;
        let connector = TlsConnector::from(self.config.clone());
        let stream = connector.connect(self.name.clone(), carrier).await;
        let fault = |error| TransportError::new(format!("TLS with {}", self.name.to_str()), advise(error));
        Ok(Box::new(Stream::new(stream.map_err(fault)?)))
    }
}

pub(super) type Stream = Filling<TlsStream<Box<dyn Carrier>>>;

/// The same error with what helps against it.
fn advise(error: io::Error) -> io::Error {
    use rustls::CertificateError as Bad;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let advice = match inner {
        Some(rustls::Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature)) => {
            "its issuer is not trusted: name the issuer's certificate with TlsOptions::ca_file"
        }
        Some(rustls::Error::InvalidCertificate(
            Bad::NotValidForName | Bad::NotValidForNameContext { .. },
        )) => "it is for another name: use in the URL a name that is in the certificate",
        Some(rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. })) => {
            "it has expired: renew it, or set this machine's clock"
        }
        Some(rustls::Error::InvalidCertificate(_)) => {
            "it is not accepted: a CA needs a certificate of version 3 that says that it is one"
        }
        Some(rustls::Error::AlertReceived(_)) => {
            "the server refused: where it wants a client certificate, give one with \
             TlsOptions::client_certificate_files"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}; {advice}"))
}
