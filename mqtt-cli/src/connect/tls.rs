//! TLS as the command line wants it.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, KeyLog, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};

use crate::failure::{Failure, Outcome};
use crate::options::TlsSettings;

/// The configuration for rustls.
pub(super) fn configuration(settings: &TlsSettings) -> Outcome<Arc<ClientConfig>> {
    refuse_unsupported(settings)?;
    let mut provider = ring::default_provider();
    if let Some(list) = &settings.ciphers {
        choose_ciphers(&mut provider, list)?;
    }
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions(settings.version.as_deref())?)
        .map_err(|error| Failure::error(format!("Problem setting TLS options: {error}")))?;
    let builder = if settings.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(algorithms)))
    } else {
        builder.with_root_certificates(roots(settings)?)
    };
    let mut config = match (&settings.certificate, &settings.key) {
        (Some(certificate), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| Failure::error(format!("cannot read {}: {error}", key.display())))?;
            builder
                .with_client_auth_cert(certificates(certificate)?, key)
                .map_err(|error| Failure::error(format!("the client certificate cannot be used: {error}")))?
        }
        _ => builder.with_no_client_auth(),
    };
    if let Some(protocol) = &settings.alpn {
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    }
    if let Some(path) = &settings.key_log {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        let file =
            file.map_err(|error| Failure::error(format!("cannot write {}: {error}", path.display())))?;
        config.key_log = Arc::new(LogFile(Mutex::new(file)));
    }
    Ok(Arc::new(config))
}

/// What only OpenSSL can do.
fn refuse_unsupported(settings: &TlsSettings) -> Outcome {
    let words = if settings.engine.is_some() || settings.key_form.as_deref() == Some("engine") {
        "OpenSSL engines are not supported: give the key in a file, with --key."
    } else if settings.psk.is_some() {
        "TLS-PSK is not supported: rustls has only certificates. Use --cafile, and --cert with --key."
    } else if settings.key_form.as_deref().is_some_and(|form| form != "pem") {
        "Problem setting key form, it must be one of 'pem' or 'engine'."
    } else {
        return Ok(());
    };
    Err(Failure::usage(words))
}

static TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
static TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

fn versions(name: Option<&str>) -> Outcome<&'static [&'static SupportedProtocolVersion]> {
    match name {
        None => Ok(rustls::ALL_VERSIONS),
        Some("tlsv1.3") => Ok(TLS13),
        Some("tlsv1.2") => Ok(TLS12),
        Some("tlsv1.1" | "tlsv1") => {
            Err(Failure::usage("TLS below 1.2 is not supported, because it is not secure."))
        }
        Some(other) => Err(Failure::usage(format!("Unknown TLS version '{other}'."))),
    }
}

/// Keeps the suites of the list. OpenSSL's names lack what all suites have in common.
fn choose_ciphers(provider: &mut CryptoProvider, list: &str) -> Outcome {
    let bare = |name: &str| {
        let name = name.to_ascii_uppercase().replace("TLS13_", "").replace("TLS_", "").replace("WITH_", "");
        name.replace(['-', '_'], "").replace("POLY1305SHA256", "POLY1305")
    };
    let wanted: Vec<String> = list.split(':').map(bare).collect();
    provider.cipher_suites.retain(|suite| {
        let name = bare(suite.suite().as_str().unwrap_or_default());
        wanted.contains(&name)
    });
    if provider.cipher_suites.is_empty() {
        return Err(Failure::error(format!("no cipher suite of '{list}' is supported")));
    }
    Ok(())
}

fn roots(settings: &TlsSettings) -> Outcome<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let mut add = |path: &Path| -> Outcome {
        for certificate in certificates(path)? {
            let fault = |error| Failure::error(format!("{}: {error}", path.display()));
            roots.add(certificate).map_err(fault)?;
        }
        Ok(())
    };
    if let Some(file) = &settings.ca_file {
        add(file)?;
    }
    if let Some(directory) = &settings.ca_path {
        let fault = |error| Failure::error(format!("cannot read {}: {error}", directory.display()));
        for entry in std::fs::read_dir(directory).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            // A directory of certificates has other files, too.
            if path.is_file() && certificates(&path).is_ok() {
                add(&path)?;
            }
        }
    }
    if settings.use_os_certs || settings.ca_file.is_none() && settings.ca_path.is_none() {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
    }
    if roots.is_empty() {
        return Err(Failure::error("there is no certificate to trust: name the server's CA with --cafile"));
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Outcome<Vec<CertificateDer<'static>>> {
    let fault = |error: rustls::pki_types::pem::Error| {
        Failure::error(format!("cannot read a certificate from {}: {error}", path.display()))
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(fault)?.collect();
    match found.map_err(fault)? {
        none if none.is_empty() => Err(Failure::error(format!("no certificate in {}", path.display()))),
        some => Ok(some),
    }
}

/// `--insecure`: any server will do, as long as it has the key of the certificate that it shows.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// The secrets of connections in the form of the NSS key log, which Wireshark reads.
#[derive(Debug)]
struct LogFile(Mutex<std::fs::File>);

impl KeyLog for LogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Without the log the connection is as good as with it.
        let _ = file.write_all(line.as_bytes());
    }
}
