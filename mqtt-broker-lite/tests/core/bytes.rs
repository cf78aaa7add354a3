//! Every sequence of `tests/bytes`, byte by byte.

use super::world::*;
use mqtt_packet::Frame;
use std::collections::BTreeMap;

#[allow(dead_code)] // What mosquitto says otherwise is of no interest here.
#[path = "../bytes/mod.rs"]
mod sequences;

// [MQTT-4.13.1-1] [MQTT-4.8.0-1] [MQTT-2.2.2-2 @3.1.1] [MQTT-2.1.3-1] [MQTT-1.5.4-1] [MQTT-1.5.4-2]
#[test]
fn every_sequence_is_answered_with_exactly_its_bytes() {
    let all = sequences::all();
    assert!(all.len() > 3000, "only {}", all.len());
    let mut wrong = Vec::new();
    for sequence in all {
        // A world of its own: what one leaves behind is not for another.
        let mut world = World::new();
        let mut clients = BTreeMap::new();
        for (number, step) in sequence.steps.iter().enumerate() {
            let client = *clients.entry(step.client).or_insert_with(|| world.open());
            if world.is_open(client) {
                world.raw(client, whole(&step.sends));
            }
            let got = world.bytes(client);
            if got != step.gets || world.is_open(client) == step.closes {
                wrong.push(format!("{}, step {number}: {got:02x?}", sequence.name));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(10)]);
}

/// Without the front of a packet whose rest does not come.
fn whole(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let Ok(Some((_, behind))) = Frame::split(rest) {
        rest = behind;
    }
    if matches!(Frame::split(rest), Ok(None)) { &bytes[..bytes.len() - rest.len()] } else { bytes }
}
