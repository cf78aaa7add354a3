//! The QoS table, cell by cell.

use mqtt_client::ReasonCode;
use mqtt_client::delivery::{Acknowledged, Arrival, Receiving, Sending};
use mqtt_client::mqtt_packet::AckKind::{PubAck, PubComp, PubRec, PubRel};
use mqtt_client::mqtt_packet::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};

const OK: ReasonCode = ReasonCode::SUCCESS;
const NO: ReasonCode = ReasonCode::UNSPECIFIED_ERROR;
const UNKNOWN: ReasonCode = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;

// [MQTT-4.3.2-1 @3.1.1] [MQTT-4.3.3-1 @3.1.1] [MQTT-4.3.2-3 @5.0] [MQTT-4.3.3-3 @5.0] [MQTT-4.3.3-4 @5.0] [MQTT-4.3.3-5 @5.0]
#[test]
fn every_acknowledgement_in_every_stage() {
    use Acknowledged::{Done, Ignore, Release, Violation};
    let stages = [Some(Sending::AwaitPubAck), Some(Sending::AwaitPubRec), Some(Sending::AwaitPubComp), None];
    let table = [
        ((PubAck, OK), [Done, Violation, Violation, Ignore]),
        ((PubAck, NO), [Done, Violation, Violation, Ignore]),
        ((PubRec, OK), [Violation, Release(OK), Release(OK), Release(UNKNOWN)]),
        ((PubRec, NO), [Violation, Done, Violation, Ignore]),
        ((PubComp, OK), [Violation, Violation, Done, Ignore]),
        ((PubComp, NO), [Violation, Violation, Done, Ignore]),
        ((PubRel, OK), [Violation; 4]),
        ((PubRel, NO), [Violation; 4]),
    ];
    for ((kind, reason), row) in table {
        for (stage, expected) in stages.into_iter().zip(row) {
            assert_eq!(Sending::acknowledged(stage, kind, reason), expected, "{stage:?} {kind:?} {reason:?}");
        }
    }
}

// [MQTT-4.3.2-2 @3.1.1] [MQTT-4.3.3-2 @3.1.1] [MQTT-4.3.3-8 @5.0] [MQTT-4.3.3-10 @5.0]
#[test]
fn every_arrival_in_every_stage() {
    use Arrival::{Again, Deliver, Violation, Wait};
    let stages = [None, Some(Receiving::AwaitAccept), Some(Receiving::AwaitPubRel)];
    let table = [
        (AtMostOnce, [Deliver, Deliver, Deliver]),
        (AtLeastOnce, [Deliver, Violation, Violation]),
        (ExactlyOnce, [Deliver, Wait, Again]),
    ];
    for (qos, row) in table {
        for (stage, expected) in stages.into_iter().zip(row) {
            assert_eq!(Receiving::arrived(stage, qos), expected, "{stage:?} {qos:?}");
        }
    }
    let answers = [(AtMostOnce, None), (AtLeastOnce, Some(PubAck)), (ExactlyOnce, Some(PubRec))];
    for (qos, answer) in answers {
        assert_eq!(Receiving::answer(qos), answer);
    }
}

// [MQTT-4.3.3-11 @5.0]
#[test]
fn every_release_in_every_stage() {
    assert_eq!(Receiving::released(None), Some(UNKNOWN));
    assert_eq!(Receiving::released(Some(Receiving::AwaitAccept)), None);
    assert_eq!(Receiving::released(Some(Receiving::AwaitPubRel)), Some(OK));
}

// [MQTT-4.3.3-6 @5.0]
#[test]
fn every_first_stage_and_what_it_repeats() {
    assert_eq!(Sending::new(AtMostOnce), None);
    assert_eq!(Sending::new(AtLeastOnce), Some(Sending::AwaitPubAck));
    assert_eq!(Sending::new(ExactlyOnce), Some(Sending::AwaitPubRec));
    assert!(Sending::AwaitPubAck.repeats_publish());
    assert!(Sending::AwaitPubRec.repeats_publish());
    assert!(!Sending::AwaitPubComp.repeats_publish());
}
