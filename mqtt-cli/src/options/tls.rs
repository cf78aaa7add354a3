//! Options about TLS.

use super::{ALL, Row, text};

pub(super) const ROWS: &[Row] = &[
    Row::new(
        ALL,
        None,
        Some("cafile"),
        &["FILE"],
        "Trust the certificates in this file; turns TLS on",
        |s, v| {
            s.tls.ca_file = Some(text(v)?.into());
            Ok(())
        },
    ),
    Row::new(
        ALL,
        None,
        Some("capath"),
        &["DIRECTORY"],
        "Trust the certificates in this directory; turns TLS on",
        |s, v| {
            s.tls.ca_path = Some(text(v)?.into());
            Ok(())
        },
    ),
    Row::new(ALL, None, Some("tls-use-os-certs"), &[], "Trust the system's roots; turns TLS on", |s, _| {
        s.tls.use_os_certs = true;
        Ok(())
    }),
    Row::new(ALL, None, Some("cert"), &["FILE"], "Client certificate", |s, v| {
        s.tls.certificate = Some(text(v)?.into());
        Ok(())
    }),
    Row::new(ALL, None, Some("key"), &["FILE"], "Key of the client certificate", |s, v| {
        s.tls.key = Some(text(v)?.into());
        Ok(())
    }),
    Row::new(ALL, None, Some("keyform"), &["FORM"], "pem; \"engine\" is not supported", |s, v| {
        s.tls.key_form = Some(text(v)?);
        Ok(())
    }),
    Row::new(ALL, None, Some("tls-engine"), &["ENGINE"], "Not supported: OpenSSL engines", |s, v| {
        s.tls.engine = Some(text(v)?);
        Ok(())
    }),
    Row::new(
        ALL,
        None,
        Some("tls-engine-kpass-sha1"),
        &["HASH"],
        "Not supported: OpenSSL engines",
        |s, _| {
            s.tls.engine.get_or_insert_default();
            Ok(())
        },
    ),
    Row::new(
        ALL,
        None,
        Some("ciphers"),
        &["LIST"],
        "Cipher suites, by their OpenSSL or IANA names, with colons",
        |s, v| {
            s.tls.ciphers = Some(text(v)?);
            Ok(())
        },
    ),
    Row::new(ALL, None, Some("tls-version"), &["VERSION"], "tlsv1.3 or tlsv1.2 [default: both]", |s, v| {
        s.tls.version = Some(text(v)?);
        Ok(())
    }),
    Row::new(ALL, None, Some("tls-alpn"), &["PROTOCOL"], "Offer this protocol (ALPN)", |s, v| {
        s.tls.alpn = Some(text(v)?);
        Ok(())
    }),
    Row::new(ALL, None, Some("insecure"), &[], "Do not verify the server's certificate", |s, _| {
        s.tls.insecure = true;
        Ok(())
    }),
    Row::new(ALL, None, Some("no-tls"), &[], "No TLS, whatever port and URL say", |s, _| {
        s.tls.none = true;
        Ok(())
    }),
    Row::new(ALL, None, Some("psk"), &["HEX"], "Not supported: TLS-PSK", |s, v| {
        s.tls.psk = Some(text(v)?);
        Ok(())
    }),
    Row::new(ALL, None, Some("psk-identity"), &["IDENTITY"], "Not supported: TLS-PSK", |s, v| {
        s.tls.psk_identity = Some(text(v)?);
        Ok(())
    }),
    Row::new(
        ALL,
        None,
        Some("tls-keylog"),
        &["FILE"],
        "Write the TLS secrets to a file, for Wireshark",
        |s, v| {
            s.tls.key_log = Some(text(v)?.into());
            Ok(())
        },
    ),
];
