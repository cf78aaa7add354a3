//! Many clients in one process. Alone in its program, because it counts the threads.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

use std::io::{Read, Write};
use std::net::TcpListener;

use allocation_counter::measure;
use mqtt_client_async::*;

const CLIENTS: usize = 200;
/// What each of them may take, besides the system's socket.
const BYTES: usize = 8 << 10;

/// A server in a thread of its own, whose memory is not counted: accepts each client, and holds its connection.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut connections = Vec::new();
        for mut stream in listener.incoming().flatten() {
            assert_ne!(stream.read(&mut [0; 200]).unwrap(), 0);
            stream.write_all(&[0x20, 3, 0, 0, 0]).unwrap();
            connections.push(stream);
        }
    });
    port
}

#[cfg(target_os = "linux")]
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[cfg(not(target_os = "linux"))]
fn threads() -> usize {
    0
}

#[test]
fn a4_40_an_idle_client_costs_no_thread_and_little_memory() {
    let port = server();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connect = async |n: usize| {
        let options = Options::new(&format!("mqtt://127.0.0.1:{port}")).unwrap();
        let options = options.client_id(format!("idle-{n}")).memory(MemoryOptions::SMALL).receive_maximum(16);
        Client::connect(options).await.unwrap()
    };
    // What is there once.
    let first = runtime.block_on(connect(0));
    let before = threads();
    let mut clients = Vec::with_capacity(CLIENTS);
    let memory = measure(|| {
        runtime.block_on(async {
            for n in 1..=CLIENTS {
                clients.push(connect(n).await);
            }
        });
    });
    assert_eq!(threads(), before);
    assert!(clients.iter().all(Client::is_connected));
    let each = usize::try_from(memory.bytes_current).unwrap() / CLIENTS;
    println!("{each} bytes for each idle client, at most {} on the way", memory.bytes_max as usize / CLIENTS);
    assert!(each <= BYTES, "{each} bytes for each idle client");
    drop((first, clients));
}
