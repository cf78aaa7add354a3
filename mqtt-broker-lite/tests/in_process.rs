//! Publishing and subscribing in the program that embeds the broker, with one thread and with three.

#![allow(clippy::unwrap_used)]

use mqtt_broker_lite::Broker;
use mqtt_packet::QoS;
use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(30);

#[test]
fn what_is_retained_comes_first_however_much_it_is() {
    for workers in [1, 3] {
        let workers = NonZeroU16::new(workers).unwrap();
        let broker = Broker::builder().listen("mqtt://127.0.0.1:0").workers(workers).start().unwrap();
        for number in 0..6000 {
            broker.publish(&format!("kept/{number}"), b"kept", QoS::AtLeastOnce, true).unwrap();
        }
        // What was published a moment ago may still be on its way between threads, and comes live then.
        let subscription = broker.subscribe("kept/#").unwrap();
        let mut topics = BTreeSet::new();
        while topics.len() < 6000 {
            let message = subscription.next_within(WAIT).unwrap();
            assert!(message.retain);
            topics.insert(message.topic().to_vec());
        }
        broker.publish("kept/0", b"", QoS::AtMostOnce, true).unwrap();
        broker.publish("kept/live", b"live", QoS::AtMostOnce, false).unwrap();
        let last = subscription.map(|message| message.payload().to_vec()).find(|payload| payload == b"live");
        assert!(last.is_some());
        // Deleted is deleted.
        let again = broker.subscribe("kept/0").unwrap();
        broker.publish("kept/0", b"new", QoS::AtMostOnce, false).unwrap();
        assert_eq!(again.next_within(WAIT).unwrap().payload(), b"new");
    }
}
