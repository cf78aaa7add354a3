//! `--authentication-method` against a broker that knows nothing but SCRAM.

#![allow(clippy::unwrap_used, clippy::disallowed_types, clippy::disallowed_methods)]

use std::process::{Command, Output};
use std::sync::Arc;

use mqtt_broker_lite::Broker;
use mqtt_broker_lite::core::{Access, Client, Credentials, Mechanism, Policy, Verdict};
use mqtt_broker_lite::scram::{Credential, METHOD, Users};
use mqtt_packet::ReasonCode;

struct OnlyScram(Arc<Users>);

impl Policy for OnlyScram {
    /// Who comes without a proof is not let in.
    fn authenticate(&mut self, _: &Credentials) -> Verdict {
        Verdict::Refuse(ReasonCode::NOT_AUTHORIZED)
    }

    fn authorize(&mut self, client: &Client, _: Access, _: &str) -> bool {
        client.user_name.as_deref() == Some("a=b,c")
    }

    fn mechanism(&mut self, method: &str, _: &str, entropy: [u8; 16]) -> Option<Box<dyn Mechanism>> {
        (method == METHOD).then(|| self.0.mechanism(entropy))
    }
}

fn publish(broker: &Broker, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt"));
    let url = broker.url();
    command.args(["pub", "--broker", &url, "-t", "a", "-m", "b", "-q", "1"]).args(arguments).output().unwrap()
}

#[test]
fn a_password_is_proven_and_not_sent() {
    let mut users = Users::new([7; 32]);
    users.insert("a=b,c", Credential::of(b"pencil", b"salt", 4096));
    let users = Arc::new(users);
    let broker = Broker::builder().listen("mqtt://127.0.0.1:0").policy(move || OnlyScram(users.clone()));
    let broker = broker.start().unwrap();

    let well = publish(&broker, &["-u", "a=b,c", "-P", "pencil", "--authentication-method", METHOD, "-d"]);
    assert!(well.status.success(), "{well:?}");

    // 135 is Not authorized, 140 Bad authentication method.
    for (arguments, code) in [
        (vec!["-u", "a=b,c", "-P", "pen", "--authentication-method", METHOD], 135),
        (vec!["-u", "nobody", "-P", "pencil", "--authentication-method", METHOD], 135),
        (vec!["-u", "a=b,c", "-P", "pencil", "--authentication-method", "SCRAM-SHA-512"], 140),
        (vec!["-u", "a=b,c", "-P", "pencil", "-V", "5"], 135),
        (vec!["-u", "a=b,c", "--authentication-method", METHOD], 1),
        (vec!["-u", "a=b,c", "-P", "pencil", "--authentication-method", "PLAIN"], 1),
    ] {
        let output = publish(&broker, &arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    }
}
