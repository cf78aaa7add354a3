//! TLS where both sides show a certificate: `cargo run -p examples --example tls_client_certificate`.

#![allow(clippy::disallowed_methods)] // Files.

use mqtt_broker_lite::{Broker, ClientCertificates, Listen, TlsFiles};
use mqtt_client_async::{Carriers, Client, Options, Publish, QoS, transport::TlsOptions};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::{error::Error, fs, path::Path};

/// A CA, and what it signs: the certificates of a server and of a client, each with its key.
fn make_certificates(directory: &Path) -> Result<(), Box<dyn Error>> {
    let write = |name: &str, pem: String| fs::write(directory.join(name), pem);
    let (key, mut ca) = (KeyPair::generate()?, CertificateParams::new(Vec::new())?);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write("ca.pem", ca.self_signed(&key)?.pem())?;
    let ca = Issuer::new(ca, key);
    for name in ["localhost", "meter-7"] {
        let (key, mut certificate) = (KeyPair::generate()?, CertificateParams::new([name.to_owned()])?);
        certificate.distinguished_name.push(DnType::CommonName, name);
        write(&format!("{name}.pem"), certificate.signed_by(&key, &ca)?.pem())?;
        write(&format!("{name}.key"), key.serialize_pem())?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::temp_dir().join(format!("mqtt-certificates-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    make_certificates(&directory)?;
    let file = |name: &str| directory.join(name);
    let server = TlsFiles {
        certificate: file("localhost.pem"),
        key: file("localhost.key"),
        client_ca: Some(file("ca.pem")),
        client_certificates: ClientCertificates::Required,
        ..TlsFiles::default()
    };
    let broker = Broker::builder().listen(Listen::on("mqtts://127.0.0.1:0").tls(server)).start()?;
    let url = broker.url().replace("127.0.0.1", "localhost");

    // Who trusts the server and shows nothing stays outside.
    let trust = TlsOptions::new().ca_file(file("ca.pem"));
    let stranger = Options::with_carriers(&url, &Carriers::new().tls(trust.clone()))?;
    println!("without a certificate: {}", if Client::connect(stranger).await.is_ok() { "in" } else { "out" });

    let tls = trust.client_certificate_files(file("meter-7.pem"), file("meter-7.key"));
    let client = Client::connect(Options::with_carriers(&url, &Carriers::new().tls(tls))?).await?;
    client.publish(Publish::new("meter/7/kwh", "4711").qos(QoS::AtLeastOnce)).await?.await?;
    println!("with a certificate: in, and published");
    Ok(fs::remove_dir_all(directory)?)
}
