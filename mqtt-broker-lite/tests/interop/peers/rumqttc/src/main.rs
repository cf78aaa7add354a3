//! A client of rumqttc, driven by lines: see `peer.rs` of the interop tests for what they say.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn say(words: &[&str]) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", words.join("\t"));
    let _ = out.flush();
}

/// Host and port, or the path of a socket.
fn address(url: &str) -> (String, u16, bool) {
    if let Some(path) = url.strip_prefix("unix://") {
        return (path.to_owned(), 0, true);
    }
    let (host, port) = url.trim_start_matches("mqtt://").rsplit_once(':').expect("mqtt://host:port");
    (host.to_owned(), port.parse().expect("a port"), false)
}

fn main() {
    let args: HashMap<String, String> = std::env::args()
        .skip(1)
        .filter_map(|argument| {
            argument.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
        })
        .collect();
    match &args["version"][..] {
        "5" => v5(&args),
        _ => v4(&args),
    }
}

macro_rules! hear {
    ($packet:expr, $text:expr) => {
        match $packet {
            Incoming::ConnAck(connack) => {
                say(&["connected", if connack.session_present { "1" } else { "0" }])
            }
            Incoming::SubAck(suback) => {
                // `Success(AtLeastOnce)`
                let code = format!("{:?}", suback.return_codes[0]);
                let qos = [("AtMostOnce", "0"), ("AtLeastOnce", "1"), ("ExactlyOnce", "2")];
                let granted = qos.iter().find(|(name, _)| code.contains(name)).map_or("128", |(_, qos)| qos);
                say(&["subscribed", granted]);
            }
            Incoming::PubAck(_) | Incoming::PubComp(_) => say(&["published"]),
            Incoming::Publish(publish) => say(&[
                "message",
                &$text(&publish.topic),
                &(publish.qos as u8).to_string(),
                if publish.retain { "1" } else { "0" },
                &String::from_utf8_lossy(&publish.payload),
            ]),
            _ => {}
        }
    };
}

/// Both versions have types of the same names, and no trait for them.
macro_rules! peer {
    ($function:ident, { $($import:item)* }, $configure:expr, $text:expr) => {
        fn $function(args: &HashMap<String, String>) {
            $($import)*
            let (host, port, is_unix) = address(&args["url"]);
            let mut options = MqttOptions::new(&args["id"], host, port);
            if is_unix {
                options.set_transport(rumqttc::Transport::unix());
            }
            let configure: fn(&mut MqttOptions, &HashMap<String, String>) = $configure;
            configure(&mut options, args);
            let (client, mut connection) = Client::new(options, 100);
            let leaves = Arc::new(AtomicBool::new(false));
            let has_left = Arc::clone(&leaves);
            std::thread::spawn(move || {
                for event in connection.iter() {
                    match event {
                        Ok(Event::Incoming(packet)) => hear!(packet, $text),
                        Ok(Event::Outgoing(_)) => {}
                        Err(_) if has_left.load(Ordering::Acquire) => return,
                        Err(error) => {
                            say(&["refused", &error.to_string()]);
                            return;
                        }
                    }
                }
            });
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                let words: Vec<_> = line.split('\t').collect();
                match words[..] {
                    ["subscribe", filter, qos] => {
                        client.subscribe(filter, qos_of(qos.parse().unwrap()).unwrap()).unwrap();
                    }
                    ["publish", topic, qos, retain, payload] => {
                        let level = qos_of(qos.parse().unwrap()).unwrap();
                        client.publish(topic, level, retain == "1", payload.to_owned()).unwrap();
                        if qos == "0" {
                            say(&["published"]);
                        }
                    }
                    ["disconnect"] => {
                        leaves.store(true, Ordering::Release);
                        client.disconnect().unwrap();
                        // It says nothing when the packet is out.
                        std::thread::sleep(std::time::Duration::from_millis(300));
                        say(&["disconnected"]);
                        return;
                    }
                    _ => panic!("what is {line}?"),
                }
            }
        }
    };
}

fn configure_v4(options: &mut rumqttc::MqttOptions, args: &HashMap<String, String>) {
    options.set_clean_session(args["clean"] == "1");
    if let Some(topic) = args.get("will") {
        options.set_last_will(rumqttc::LastWill::new(topic, "gone", rumqttc::QoS::AtLeastOnce, false));
    }
}

fn configure_v5(options: &mut rumqttc::v5::MqttOptions, args: &HashMap<String, String>) {
    use rumqttc::v5::mqttbytes::{QoS, v5::LastWill};
    options.set_clean_start(args["clean"] == "1");
    options.set_session_expiry_interval(args["expiry"].parse().ok());
    if let Some(topic) = args.get("will") {
        options.set_last_will(LastWill::new(topic, "gone", QoS::AtLeastOnce, false, None));
    }
}

peer!(
    v4,
    {
        use rumqttc::qos as qos_of;
        use rumqttc::{Client, Event, Incoming, MqttOptions};
    },
    configure_v4,
    |topic: &str| topic.to_owned()
);
peer!(
    v5,
    {
        use rumqttc::v5::mqttbytes::qos as qos_of;
        use rumqttc::v5::{Client, Event, Incoming, MqttOptions};
    },
    configure_v5,
    |topic: &[u8]| String::from_utf8_lossy(topic).into_owned()
);
