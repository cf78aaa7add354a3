//! Foreign clients with each other through our broker, over everything that carries them: every QoS, retained messages,
//! wills, sessions that are kept, shared subscriptions, in 3.1.1 and 5.0. `scripts/interop-peers` installs them; where
//! one is missing its tests say aloud that they are skipped, and fail in continuous integration.

#![cfg(all(feature = "tls", feature = "ws", unix))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

#[path = "../made/mod.rs"]
mod made;
mod peer;
mod scenarios;

use made::{Authority, Directory};
use mqtt_broker_lite::{Broker, ClientCertificates, Listen, TlsFiles};
use peer::{Carrier, Kind, Place};
use std::num::NonZeroU16;

/// A broker of two shards that listens on everything.
struct Site {
    /// Its files go when it does.
    _directory: Directory,
    _broker: Broker,
    places: Vec<(Carrier, Place)>,
}

impl Site {
    fn new() -> Self {
        let (directory, authority) = (Directory::new(), Authority::new());
        let (server, client) = (authority.server(), authority.client("peer"));
        let files = TlsFiles {
            certificate: directory.write("server.pem", &server.0),
            key: directory.write("server.key", &server.1),
            client_ca: Some(directory.write("ca.pem", &authority.certificate)),
            client_certificates: ClientCertificates::Required,
            ..TlsFiles::default()
        };
        let socket = format!("unix://{}", directory.0.join("socket").display());
        let broker = Broker::builder()
            .workers(NonZeroU16::new(2).unwrap())
            .listen("mqtt://127.0.0.1:0")
            .listen(Listen::on("mqtts://127.0.0.1:0").tls(files.clone()))
            .listen("ws://127.0.0.1:0/mqtt")
            .listen(Listen::on("wss://127.0.0.1:0/mqtt").tls(files))
            .listen(&socket[..])
            .start()
            .unwrap();
        let certificate = directory.write("client.pem", &client.0);
        let key = directory.write("client.key", &client.1);
        let carriers = [Carrier::Tcp, Carrier::Tls, Carrier::Ws, Carrier::Wss, Carrier::Unix];
        let places = carriers.into_iter().zip(broker.urls().map(|url| Place {
            // The name in the certificate.
            url: if url.contains("s://") && !url.starts_with("ws:") {
                url.replace("127.0.0.1", "localhost")
            } else {
                url
            },
            ca: directory.0.join("ca.pem"),
            certificate: certificate.clone(),
            key: key.clone(),
        }));
        Self { places: places.collect(), _directory: directory, _broker: broker }
    }

    fn place(&self, carrier: Carrier) -> &Place {
        &self.places.iter().find(|(known, _)| *known == carrier).unwrap().1
    }
}

/// Everything with clients of one kind, and of them with mosquitto's, which both know only TCP.
fn interop(kind: Kind, carrier: Carrier) {
    assert!(kind.carriers().contains(&carrier));
    if !kind.is_here() || !Kind::Mosquitto.is_here() {
        return;
    }
    let site = Site::new();
    let place = site.place(carrier);
    let own = (kind, place);
    let other = (Kind::Mosquitto, site.place(Carrier::Tcp));
    for version in [4, 5] {
        for (from, to) in [(own, own), (own, other), (other, own)] {
            scenarios::every_qos(from, to, version);
        }
        scenarios::retained(own, version);
        scenarios::will(own, other, version);
        scenarios::kept_session(own, other, version);
        scenarios::shared(own, other, version);
    }
    // And the versions with each other.
    scenarios::mixed_versions(own, other);
}

macro_rules! interop {
    ($($name:ident: $kind:ident $carrier:ident;)*) => {$(
        #[test]
        fn $name() {
            interop(Kind::$kind, Carrier::$carrier);
        }
    )*};
}

interop! {
    mosquitto_over_tcp: Mosquitto Tcp;
    mosquitto_over_tls_with_a_certificate: Mosquitto Tls;
    mosquitto_over_a_unix_socket: Mosquitto Unix;
    paho_over_tcp: Paho Tcp;
    paho_over_tls_with_a_certificate: Paho Tls;
    paho_over_websocket: Paho Ws;
    paho_over_secure_websocket: Paho Wss;
    paho_over_a_unix_socket: Paho Unix;
    mqtt_js_over_tcp: MqttJs Tcp;
    mqtt_js_over_tls_with_a_certificate: MqttJs Tls;
    mqtt_js_over_websocket: MqttJs Ws;
    mqtt_js_over_secure_websocket: MqttJs Wss;
    rumqttc_over_tcp: Rumqttc Tcp;
    rumqttc_over_a_unix_socket: Rumqttc Unix;
}

/// All foreign clients in one room.
#[test]
fn everybody_hears_everybody() {
    let kinds = [Kind::Mosquitto, Kind::Paho, Kind::MqttJs, Kind::Rumqttc];
    if !kinds.iter().all(|kind| kind.is_here()) {
        return;
    }
    let site = Site::new();
    scenarios::everybody(&kinds.map(|kind| (kind, site.place(Carrier::Tcp))));
}
