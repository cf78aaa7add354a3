//! The broker as a program of its own, so that its memory is its own; and a client beside the hostile ones.

use super::link::{Kind, Link};
use super::made::{Authority, Directory};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

/// How long anything may take before it counts as missing.
pub const WAIT: Duration = Duration::from_secs(20);
/// How many round trips of the client beside belong to every case.
const ROUND_TRIPS: usize = 5;
/// Their median stays below this, whatever happens beside.
const MEDIAN: Duration = Duration::from_millis(100);

/// A broker with a listener of each kind.
pub struct Ground {
    process: Child,
    addresses: Vec<SocketAddr>,
    pub authority: Authority,
    _directory: Directory,
    beside: Beside,
    /// What went wrong so far.
    wrong: Mutex<Vec<String>>,
    cases: AtomicUsize,
}

impl Ground {
    /// With these lines of configuration for `[limits]`, and these for every listener.
    pub fn new(limits: &str, listener: &str) -> Self {
        let (directory, authority) = (Directory::new(), Authority::new());
        let (certificate, key) = authority.server();
        let certificate = directory.write("server.pem", certificate);
        let key = directory.write("server.key", key);
        let mut text = format!("in_memory = true\nworkers = 2\nlog = \"off\"\n[limits]\n{limits}\n");
        for kind in Kind::ALL {
            text += &format!("[[listener]]\nurl = \"{}://127.0.0.1:0\"\n{listener}\n", kind.scheme());
            if kind.is_secure() {
                text += &format!("certificate = {certificate:?}\nkey = {key:?}\n");
            }
        }
        Self::with(&text, directory, authority)
    }

    /// With this configuration, whose first listener is `mqtt`.
    pub fn with(text: &str, directory: Directory, authority: Authority) -> Self {
        Self::limited(4096, text, directory, authority)
    }

    /// With so many descriptors.
    pub fn limited(descriptors: u32, text: &str, directory: Directory, authority: Authority) -> Self {
        let config = directory.write("broker.toml", text);
        let mut process = Command::new("sh")
            .args(["-c", &format!("ulimit -n {descriptors}; exec \"$0\" --config \"$1\"")])
            .arg(env!("CARGO_BIN_EXE_mqtt-broker-lite"))
            .arg(config)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut addresses = Vec::new();
        while addresses.len() < text.matches("[[listener]]").count() {
            let line = lines.next().expect("the broker has ended").unwrap();
            let url = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}"));
            addresses.push(url.split_once("://").unwrap().1.split('/').next().unwrap().parse().unwrap());
        }
        // What it says later is for nobody, but must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let beside = Beside::start(addresses[0], process.id());
        let ground = Self {
            process,
            addresses,
            authority,
            _directory: directory,
            beside,
            wrong: Mutex::default(),
            cases: AtomicUsize::new(0),
        };
        ground.beside.wait_for(3 * ROUND_TRIPS).unwrap();
        ground
    }

    pub fn address(&self, index: usize) -> SocketAddr {
        self.addresses[index]
    }

    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// A connection of this kind, on which nothing of MQTT was said.
    pub fn open(&self, kind: Kind) -> Link {
        Link::open(kind, self.addresses[kind as usize], &self.authority.certificate)
    }

    /// A connection of this kind that sent this CONNECT and was let in.
    pub fn connect(&self, kind: Kind, connect: &[u8]) -> Link {
        let mut link = self.open(kind);
        link.send(connect).unwrap();
        let answer = link.packet().unwrap();
        assert_eq!((answer[0], answer[3]), (0x20, 0), "not let in: {answer:02x?}");
        link
    }

    /// Memory that the broker has taken for itself.
    pub fn memory(&self) -> usize {
        memory(self.process.id())
    }

    /// Plays one case: what it does is right, the client beside is served meanwhile, memory grows by at most this, and the
    /// broker lives.
    pub fn case(&self, name: &str, bound: usize, act: impl FnOnce() -> Result<(), String>) {
        self.cases.fetch_add(1, Ordering::Relaxed);
        let before = self.memory();
        let mark = self.beside.mark();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        let outcome = outcome.unwrap_or_else(|_| Err("the peer could not do what it wanted".to_owned()));
        let outcome = outcome.and_then(|()| self.beside.served_since(mark));
        let grown = self.beside.peak.swap(0, Ordering::Relaxed).max(self.memory()).saturating_sub(before);
        let outcome = outcome.and_then(|()| match grown <= bound {
            true => Ok(()),
            false => Err(format!("memory grew by {} KiB, {} are the bound", grown / KIB, bound / KIB)),
        });
        if let Err(what) = outcome {
            self.wrong.lock().unwrap().push(format!("{name}: {what}"));
        }
    }

    /// Says what went wrong, after so many cases.
    pub fn end(mut self, at_least: usize) {
        let cases = self.cases.load(Ordering::Relaxed);
        assert!(cases >= at_least, "only {cases} cases were played");
        let mut wrong = std::mem::take(&mut *self.wrong.lock().unwrap());
        if let Some(status) = self.process.try_wait().unwrap() {
            wrong.push(format!("the broker has ended: {status}"));
        }
        assert!(
            wrong.is_empty(),
            "{} of {cases} are wrong: {:#?}",
            wrong.len(),
            &wrong[..wrong.len().min(30)]
        );
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.beside.is_over.store(true, Ordering::Relaxed);
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(thread) = self.beside.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Private memory of a process: what it asked for and uses.
fn memory(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap_or(0) * KIB
}

/// A well-behaved client: it publishes to itself with QoS 1, again and again.
struct Beside {
    round_trips: Arc<Mutex<Vec<Duration>>>,
    fault: Arc<Mutex<Option<String>>>,
    is_over: Arc<AtomicBool>,
    /// The most memory of the broker that it saw since this was set to zero.
    peak: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// A topic that no `#` of others matches.
const TOPIC: &[u8] = b"$beside/me";

impl Beside {
    fn start(address: SocketAddr, broker: u32) -> Self {
        let round_trips = Arc::<Mutex<Vec<Duration>>>::default();
        let fault = Arc::<Mutex<Option<String>>>::default();
        let (is_over, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let thread = std::thread::spawn({
            let (round_trips, fault) = (Arc::clone(&round_trips), Arc::clone(&fault));
            let (is_over, peak) = (Arc::clone(&is_over), Arc::clone(&peak));
            move || {
                let result = live(
                    address,
                    || {
                        peak.fetch_max(memory(broker), Ordering::Relaxed);
                        is_over.load(Ordering::Relaxed)
                    },
                    &round_trips,
                );
                if let Err(error) = result {
                    *fault.lock().unwrap() = Some(format!("the client beside was not served: {error}"));
                }
            }
        });
        Self { round_trips, fault, is_over, peak, thread: Some(thread) }
    }

    fn mark(&self) -> usize {
        self.round_trips.lock().unwrap().len()
    }

    /// Waits until there are so many round trips.
    fn wait_for(&self, count: usize) -> Result<(), String> {
        let begin = Instant::now();
        while self.mark() < count {
            if let Some(fault) = &*self.fault.lock().unwrap() {
                return Err(fault.clone());
            }
            if begin.elapsed() > WAIT {
                return Err("the client beside gets no answer".to_owned());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn served_since(&self, mark: usize) -> Result<(), String> {
        self.wait_for(mark + ROUND_TRIPS)?;
        let mut these = self.round_trips.lock().unwrap()[mark..].to_vec();
        these.sort_unstable();
        match these[these.len() / 2] {
            median if median < MEDIAN => Ok(()),
            median => Err(format!("the median round trip beside was {median:?}")),
        }
    }
}

fn live(
    address: SocketAddr,
    is_over: impl Fn() -> bool,
    round_trips: &Mutex<Vec<Duration>>,
) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.write_all(b"\x10\x12\x00\x04MQTT\x04\x02\x00\x00\x00\x06beside")?;
    let length = TOPIC.len() as u8;
    let name = [&[0, length], TOPIC].concat();
    stream.write_all(&[&[0x82, length + 5, 0, 1], &name[..], &[0]].concat())?;
    stream.read_exact(&mut [0; 4 + 5])?;
    let publish = [&[0x32, length + 2 + 2 + 1], &name[..], &[0, 2], b"x"].concat();
    // The message itself without an identifier, and PUBACK, in whatever order.
    let mut answers = vec![0; publish.len() - 2 + 4];
    while !is_over() {
        let begin = Instant::now();
        stream.write_all(&publish)?;
        stream.read_exact(&mut answers)?;
        round_trips.lock().unwrap().push(begin.elapsed());
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
