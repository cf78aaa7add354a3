//! TLS of the server's side, by rustls: certificates from files, certificates of clients, ALPN. Which configuration a
//! connection gets is looked up when it is accepted, so certificates can be changed while the broker runs.

use super::super::stream::Stream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How much waits in one connection for its socket.
const BUFFER: usize = 64 << 10;
/// After so many records without data somebody else has his turn.
const RECORDS_PER_READ: usize = 16;

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    #[default]
    None,
    /// They are asked; who shows one shows a right one.
    Optional,
    /// Nobody connects without one.
    Required,
}

/// The certificates of a listener, as files in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key of it.
    pub key: PathBuf,
    /// Who signs the certificates of clients.
    pub client_ca: Option<PathBuf>,
    /// Certificates of clients that do not count any more.
    pub client_crl: Option<PathBuf>,
    /// Whether clients show certificates.
    pub client_certificates: ClientCertificates,
    /// Whether the common name of a client's certificate is its user name.
    pub use_common_name: bool,
    /// Whether TLS 1.2 is refused.
    pub only_tls13: bool,
}

impl TlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// Which file is not what it should be.
    pub(crate) fn load(&self, alpn: &[&str]) -> Result<Arc<ServerConfig>, String> {
        let certificates = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| format!("{}: no private key: {error}", self.key.display()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions: &[_] = if self.only_tls13 { &[&rustls::version::TLS13] } else { rustls::ALL_VERSIONS };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?;
        let builder = match self.verifier(provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(certificates, key)
            .map_err(|error| format!("{}: {error}", self.certificate.display()))?;
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }

    fn verifier(
        &self,
        provider: Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Option<Arc<dyn rustls::server::danger::ClientCertVerifier>>, String> {
        if self.client_certificates == ClientCertificates::None {
            return Ok(None);
        }
        let Some(ca) = &self.client_ca else {
            return Err("client certificates are wanted, but no client_ca says whose".to_owned());
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).map_err(|error| format!("{}: {error}", ca.display()))?;
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if let Some(crl) = &self.client_crl {
            let lists: Result<Vec<_>, _> =
                CertificateRevocationListDer::pem_file_iter(crl).and_then(Iterator::collect);
            builder = builder.with_crls(lists.map_err(|error| format!("{}: {error}", crl.display()))?);
        }
        if self.client_certificates == ClientCertificates::Optional {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map(Some).map_err(|error| format!("{}: {error}", ca.display()))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match all {
        Ok(all) if all.is_empty() => Err(format!("{}: no certificate in it", path.display())),
        Ok(all) => Ok(all),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

pub(crate) struct Tls {
    session: ServerConnection,
    stream: Stream,
}

impl Tls {
    pub(crate) fn new(config: Arc<ServerConfig>, stream: Stream) -> io::Result<Self> {
        let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
        session.set_buffer_limit(Some(BUFFER));
        Ok(Self { session, stream })
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(super) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    pub(super) fn has_pending(&self) -> bool {
        self.session.wants_write()
    }

    pub(super) fn say_goodbye(&mut self) {
        self.session.send_close_notify();
    }

    pub(super) fn common_name(&self) -> Option<String> {
        let certificate = self.session.peer_certificates()?.first()?;
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let mut names = certificate.subject().iter_common_name();
        // Two names would be two clients.
        let (name, other) = (names.next()?, names.next());
        let name = name.as_str().ok()?;
        (other.is_none() && !name.is_empty()).then(|| name.to_owned())
    }
}

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for _ in 0..RECORDS_PER_READ {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.session.read_tls(&mut self.stream)?;
            let result = self.session.process_new_packets();
            // Answers of the handshake; or the alert that says what was wrong.
            if let Err(error) = self.flush()
                && error.kind() != ErrorKind::WouldBlock
            {
                return Err(error);
            }
            result.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
        Err(ErrorKind::Interrupted.into())
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let taken = self.session.writer().write_vectored(pieces)?;
        match self.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            if self.session.write_tls(&mut self.stream)? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}
