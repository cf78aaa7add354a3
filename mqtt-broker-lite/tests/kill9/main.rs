//! SIGKILL at random moments: nothing that was acknowledged is lost, nothing of QoS 2 comes twice.
//!
//! `KILLS=1000` for more than the usual few, `SEED` for another run, `WORKERS` for more shards, and `BROKER` for another
//! program than the one that was built with this; see `scripts/kill9`.

#![cfg(all(unix, feature = "cli", feature = "persistence"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

mod broker;
mod state;
mod subscriber;
#[path = "../traffic/mod.rs"]
mod traffic;

use broker::Broker;
use state::{Filters, Retained};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use subscriber::Subscriber;
use traffic::client::Client;
use traffic::publisher::Publisher;

/// Two at QoS 1, two at QoS 2.
const PUBLISHERS: [u8; 4] = [1, 1, 2, 2];

struct Rng(u64);

impl Rng {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect(name))
}

#[test]
fn nothing_acknowledged_is_lost() {
    let kills = number("KILLS", 25);
    let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros();
    let seed = number("SEED", u64::try_from(clock).unwrap()).max(1);
    println!("{kills} kills, SEED={seed}");
    let mut rng = Rng(seed);
    let mut broker = Broker::start();
    let mut publishers: Vec<_> =
        (0..).zip(PUBLISHERS).map(|(number, qos)| Publisher::new(number, qos)).collect();
    let [mut online, mut offline] = ["online", "offline"].map(Subscriber::new);
    online.subscribe(&broker);
    offline.subscribe(&broker);
    let mut retained = Retained::default();
    let mut filters = Filters::default();
    let mut sessions = 0;
    let begin = Instant::now();
    for kill in 0..kills {
        let stop = Arc::new(AtomicBool::new(false));
        let address = broker.address.clone();
        std::thread::scope(|scope| {
            let run = |stop: &Arc<AtomicBool>| (address.clone(), Arc::clone(stop));
            for publisher in &mut publishers {
                let (address, stop) = run(&stop);
                scope.spawn(move || publisher.publish_until(&address, &stop));
            }
            let (at, until) = run(&stop);
            let (online, retained, filters, sessions) =
                (&mut online, &mut retained, &mut filters, &mut sessions);
            scope.spawn(move || online.receive_until(&at, &until));
            let (at, until) = run(&stop);
            scope.spawn(move || retained.change_until(&at, &until));
            let (at, until) = run(&stop);
            scope.spawn(move || filters.change_until(&at, &until));
            let (at, until) = run(&stop);
            scope.spawn(move || open_until(&at, &until, sessions));
            std::thread::sleep(Duration::from_millis(20 + rng.next(200)));
            broker.kill();
            stop.store(true, Ordering::Relaxed);
        });
        broker = Broker::start();
        publishers.iter_mut().for_each(|publisher| publisher.finish(&broker.address));
        online.receive_all(&broker.address, &publishers);
        offline.receive_all(&broker.address, &publishers);
        retained.check(&broker.address);
        filters.check(&broker.address);
        check_sessions(&broker.address, sessions, kill);
    }
    drop(broker);
    std::fs::remove_dir_all(broker::directory()).unwrap();
    let acknowledged: u64 = publishers.iter().map(Publisher::acknowledged).sum();
    assert!(acknowledged > kills * 50, "hardly anything was acknowledged: {acknowledged}");
    println!(
        "{kills} kills: of {acknowledged} acknowledged messages 0 lost, of QoS 2 0 twice; {sessions} sessions, \
         {} changes of subscriptions and {} of retained messages, 0 lost; {} repeats of QoS 1; {} s",
        filters.acknowledged,
        retained.acknowledged,
        online.repeats + offline.repeats,
        begin.elapsed().as_secs()
    );
}

/// Makes one session after the other.
fn open_until(address: &str, stop: &AtomicBool, sessions: &mut u64) {
    while !stop.load(Ordering::Relaxed) {
        if Client::connect(address, &format!("session-{sessions}")).is_ok() {
            *sessions += 1;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The newest, and in the long run all others too.
fn check_sessions(address: &str, sessions: u64, kill: u64) {
    for session in
        (sessions.saturating_sub(10)..sessions).chain([kill % sessions.max(1)]).filter(|_| sessions > 0)
    {
        let client = Client::connect(address, &format!("session-{session}")).unwrap();
        assert!(client.is_present, "session {session} is lost");
    }
}
