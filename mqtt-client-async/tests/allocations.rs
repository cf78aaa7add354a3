//! In the steady state nothing is allocated for a message that goes out, and for one that comes in its own bytes alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use allocation_counter::measure;
use mqtt_client_async::*;
use mqtt_packet::Frame;

const N: usize = 2000;
/// What a runtime may allocate now and then.
const NOISE: u64 = 20;

/// A server in a thread of its own, whose allocations are not counted: it acknowledges what comes, and publishes to the
/// client what the client publishes to `echo`.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || serve(listener.accept().unwrap().0));
    port
}

fn serve(mut stream: TcpStream) {
    let (mut buffer, mut len) = (vec![0; 1 << 16], 0);
    loop {
        match stream.read(&mut buffer[len..]) {
            Ok(n @ 1..) => len += n,
            _ => return,
        }
        let (mut answer, mut rest) = (Vec::new(), &buffer[..len]);
        while let Ok(Some((frame, behind))) = Frame::split(rest) {
            let packet = &rest[..frame.len()];
            match packet[0] {
                0x10 => answer.extend([0x20, 2, 0, 0]),
                0x82 => answer.extend([0x90, 3, packet[2], packet[3], 1]),
                0x62 => answer.extend([0x70, 2, packet[2], packet[3]]),
                first if first >> 4 == 3 => {
                    let topic = usize::from(packet[3]);
                    let id = packet.get(4 + topic..6 + topic).unwrap_or_default();
                    match first >> 1 & 3 {
                        1 => answer.extend([&[0x40, 2], id].concat()),
                        2 => answer.extend([&[0x50, 2], id].concat()),
                        _ => {}
                    }
                    if packet[4..].starts_with(b"echo") {
                        answer.extend(packet);
                    }
                }
                _ => {}
            }
            rest = behind;
        }
        let left = rest.len();
        buffer.copy_within(len - left..len, 0);
        len = left;
        stream.write_all(&answer).unwrap();
    }
}

/// How often one thread allocates for what it does the second time.
fn allocations(mut work: impl AsyncFnMut(&Client)) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = Options::new(&format!("mqtt://127.0.0.1:{}", server())).unwrap();
    let options = options.version(Version::V3_1_1).client_id("counted");
    let client = runtime.block_on(Client::connect(options)).unwrap();
    runtime.block_on(work(&client));
    measure(|| runtime.block_on(work(&client))).count_total
}

#[test]
fn a_message_that_goes_out_costs_no_allocation() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let topic = Topic::from_static("a/topic");
        let count = allocations(async |client| {
            for n in 0..N {
                let publish = Publish::new(&topic, &b"a payload"[..]).qos(qos);
                let delivery = client.publish(publish).await.unwrap();
                // Some are awaited, some are not.
                if n % 3 == 0 {
                    delivery.await.unwrap();
                }
            }
        });
        assert!(count < NOISE, "{count} allocations for {N} messages of {qos:?}");
    }
}

#[test]
fn a_message_that_comes_in_costs_one_allocation() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut stream = None;
        let count = allocations(async |client| {
            if stream.is_none() {
                stream = Some(client.subscribe(("echo/#", qos)).await.unwrap());
            }
            let stream = stream.as_mut().unwrap();
            for _ in 0..N {
                let publish = Publish::new(Topic::from_static("echo/echo"), &b"a payload"[..]).qos(qos);
                drop(client.publish(publish).await.unwrap());
                assert_eq!(stream.recv().await.unwrap().payload(), b"a payload");
            }
        });
        let expected = N as u64;
        assert!((expected..expected + NOISE).contains(&count), "{count} allocations for {N} messages");
    }
}
