//! A device that only publishes, MQTT 3.1.1: sends CONNECT, PUBLISH, PINGREQ and DISCONNECT, reads CONNACK and PUBACK.
//!
//! `black_box` keeps the compiler from working out at build time what only a running device knows.

#![no_std]
#![no_main]

use core::hint::black_box;

use code_size_probe as _;
use mqtt_packet::{
    Ack, ConnAck, Connect, Disconnect, Frame, PacketType, PingReq, Publish, ReasonCode, SliceSink, TopicName,
    Utf8Str, Version,
};

const VERSION: Version = Version::V3_1_1;
const CLIENT_ID: Utf8Str<'_> = match Utf8Str::new("thermometer") {
    Ok(client_id) => client_id,
    Err(_) => panic!("not a string of MQTT"),
};
const TOPIC: TopicName<'_> = match TopicName::new("plant/1/temperature") {
    Ok(topic) => topic,
    Err(_) => panic!("not a topic name"),
};

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    loop {
        let mut out = SliceSink::new(black_box::<&mut [u8]>(&mut []));
        // Whether there is a will or a password, and which QoS, is known to the running device only.
        let connect = Connect::new(VERSION, CLIENT_ID);
        black_box(black_box(&connect).encode(VERSION, &mut out).is_ok());
        let publish = Publish::new(TOPIC, black_box(&[]));
        black_box(black_box(&publish).encode(VERSION, &mut out).is_ok());
        black_box(PingReq.encode(VERSION, &mut out).is_ok());
        black_box(Disconnect::new(ReasonCode::SUCCESS).encode(VERSION, &mut out).is_ok());
        black_box(out.len());
        receive(black_box(&[]));
    }
}

#[inline(never)]
fn receive(input: &[u8]) {
    let Ok(Some((frame, _))) = Frame::split(input) else {
        return;
    };
    match frame.packet_type() {
        PacketType::ConnAck => {
            if let Ok(connack) = ConnAck::decode(frame, VERSION) {
                black_box((connack.session_present, connack.reason_code));
            }
        }
        PacketType::PubAck => {
            if let Ok(ack) = Ack::decode(frame, VERSION) {
                black_box(ack.id);
            }
        }
        _ => {}
    }
}
