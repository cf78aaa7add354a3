//! What the broker is like, in the text format of Prometheus (OpenMetrics), for whoever asks by HTTP.
//!
//! Nothing is counted twice for it: when somebody asks, every worker is asked what it has counted.

use super::StartError;
use super::budget::Budget;
use super::mailbox::{Letter, Mailbox};
use super::worker::Figures;
use crate::core::{CloseReason, Counts, Loss, Pressure};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long whoever asks may take for it, and for reading the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the workers may take together.
const COUNTING: Duration = Duration::from_secs(5);
/// The longest request.
const REQUEST: usize = 8 << 10;
/// The content type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
/// Steps of the histogram: from 0.1 ms to 1.6 s, each twice the one before.
const STEPS: u16 = 15;

/// Where the figures are.
pub(super) struct Sources {
    pub(super) workers: Vec<Mailbox>,
    pub(super) budget: Option<Budget>,
    pub(super) commits: Histogram,
}

/// For how long commits take.
pub(super) fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, STEPS))
}

/// What is asked for by HTTP.
pub(super) fn url(address: SocketAddr) -> String {
    format!("http://{address}/metrics")
}

pub(super) fn open(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).map_err(|source| StartError::Listen { url: url(address), source })
}

/// Answers requests until it is dropped.
pub(super) struct Exporter {
    pub(super) address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Exporter {
    pub(super) fn start(listener: TcpListener, sources: Sources) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let thread = std::thread::Builder::new().name("mqtt-metrics".to_owned());
        let thread = thread.spawn(move || serve(&listener, &sources, &until))?;
        Ok(Self { address, is_over, thread: Some(thread) })
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        let is_woken = TcpStream::connect_timeout(&address, PATIENCE).is_ok();
        if is_woken
            && let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the metrics panicked");
        }
    }
}

fn serve(listener: &TcpListener, sources: &Sources, is_over: &AtomicBool) {
    for stream in listener.incoming() {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        match stream {
            Ok(stream) => {
                if let Err(error) = answer(stream, sources) {
                    tracing::debug!(%error, "somebody who asked for metrics was not served");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "nobody can ask for metrics for a moment");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn answer(mut stream: TcpStream, sources: &Sources) -> io::Result<()> {
    let (status, kind, body) = match request(&mut stream)? {
        Request::Metrics => match page(sources) {
            Some(page) => ("200 OK", OPEN_METRICS, page),
            None => ("503 Service Unavailable", PLAIN, "a worker does not answer\n".to_owned()),
        },
        Request::Elsewhere => ("404 Not Found", PLAIN, "metrics are at /metrics\n".to_owned()),
        Request::Change => ("405 Method Not Allowed", PLAIN, "GET is expected\n".to_owned()),
        Request::Malformed => ("400 Bad Request", PLAIN, "not a request\n".to_owned()),
    };
    stream.set_write_timeout(Some(PATIENCE))?;
    let len = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}"
    )?;
    stream.shutdown(Shutdown::Write)?;
    // Bytes that nobody read would make the system throw away the answer.
    stream.set_read_timeout(Some(PATIENCE))?;
    io::copy(&mut stream.take(REQUEST as u64), &mut io::sink()).map(drop)
}

#[derive(Debug, PartialEq, Eq)]
enum Request {
    Metrics,
    Elsewhere,
    Change,
    Malformed,
}

/// Reads a request up to its end; what it says beside method and path does not matter.
fn request(stream: &mut TcpStream) -> io::Result<Request> {
    let begin = Instant::now();
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let left = PATIENCE.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if let Some(request) = parse(&bytes) {
            return Ok(request);
        }
    }
}

/// What is asked for; `None` where more has to come.
fn parse(bytes: &[u8]) -> Option<Request> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    Some(match request.parse(bytes) {
        Ok(httparse::Status::Partial) if bytes.len() < REQUEST => return None,
        Ok(httparse::Status::Partial) | Err(_) => Request::Malformed,
        Ok(httparse::Status::Complete(_)) => match (request.method, request.path) {
            (Some("GET"), Some(path)) if path.split('?').next() == Some("/metrics") => Request::Metrics,
            (Some("GET"), _) => Request::Elsewhere,
            _ => Request::Change,
        },
    })
}

/// Everything, as text; `None` where a worker does not answer.
fn page(sources: &Sources) -> Option<String> {
    let figures = ask(&sources.workers)?;
    let memory = sources.budget.as_ref().map(|budget| (budget.used(), budget.limit));
    let mut registry = Registry::with_prefix("mqtt_broker");
    registry.register_with_unit(
        "store_commit",
        "How long it took to make a batch safe",
        Unit::Seconds,
        sources.commits.clone(),
    );
    registry.register_collector(Box::new(Sample { figures, memory }));
    let mut page = String::new();
    text::encode(&mut page, &registry).ok()?;
    Some(page)
}

/// Asks all before it waits for any.
fn ask(workers: &[Mailbox]) -> Option<Vec<Figures>> {
    let begin = Instant::now();
    let answers: Vec<_> = workers
        .iter()
        .map(|worker| {
            let (asker, answer) = sync_channel(1);
            worker.send(Letter::Count(asker));
            answer
        })
        .collect();
    let wait = || COUNTING.saturating_sub(begin.elapsed());
    answers.into_iter().map(|answer| answer.recv_timeout(wait()).ok()).collect()
}

/// The figures of all workers at one moment.
#[derive(Debug)]
struct Sample {
    figures: Vec<Figures>,
    /// Bytes taken, and those that may be.
    memory: Option<(usize, usize)>,
}

/// Writes one metric after the other.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn write(&mut self, name: &str, help: &str, value: &impl EncodeMetric) -> fmt::Result {
        value.encode(self.0.encode_descriptor(name, help, None, value.metric_type())?)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.write(name, help, &ConstCounter::new(value))
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.write(name, help, &ConstGauge::new(value))
    }

    /// One metric for each value of a label.
    fn each<M: EncodeMetric>(
        &mut self,
        (name, label): (&str, &str),
        help: &str,
        values: impl Iterator<Item = (String, M)>,
    ) -> fmt::Result {
        let mut values = values.peekable();
        let Some((_, first)) = values.peek() else {
            return Ok(());
        };
        let kind = first.metric_type();
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (value, metric) in values {
            metric.encode(family.encode_family(&[(label, value.as_str())])?)?;
        }
        Ok(())
    }
}

fn number(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

impl Sample {
    fn sum(&self, of: impl Fn(&Figures) -> u64) -> u64 {
        self.figures.iter().map(of).fold(0, u64::saturating_add)
    }

    fn connections(&self, page: &mut Page<'_>, counts: &Counts) -> fmt::Result {
        let open = self.sum(|one| number(one.connections));
        page.gauge("connections", "Connections that are open, with CONNECT or before it", open)?;
        let accepted = self.sum(|one| one.tally.accepted);
        page.counter("connections_accepted", "Connections that were accepted", accepted)?;
        let away = self.sum(|one| one.tally.turned_away);
        page.counter("connections_turned_away", "Connections that a limit left no room for", away)?;
        let closed = CloseReason::KINDS.iter().zip(counts.closed);
        let closed = closed.map(|(kind, count)| ((*kind).to_owned(), ConstCounter::new(count)));
        page.each(("connections_closed", "reason"), "Connections that were refused, ended or lost", closed)?;
        let received = self.sum(|one| one.tally.bytes_received);
        page.counter("bytes_received", "Bytes of MQTT that came from clients", received)?;
        let sent = self.sum(|one| one.tally.bytes_sent);
        page.counter("bytes_sent", "Bytes of MQTT that went to clients", sent)
    }

    fn messages(&self, page: &mut Page<'_>, counts: &Counts) -> fmt::Result {
        let by_qos = |counts: [u64; 3]| {
            (0..3).zip(counts).map(|(qos, count): (u8, u64)| (qos.to_string(), ConstCounter::new(count)))
        };
        page.counter("packets_received", "Packets of connected clients", counts.packets_received)?;
        page.each(("messages_received", "qos"), "Messages that clients published", by_qos(counts.received))?;
        page.each(("messages_sent", "qos"), "Messages that went to clients", by_qos(counts.sent))?;
        let inside = self.sum(|one| one.tally.missed_inside);
        let lost = Loss::ALL.iter().zip(counts.lost).map(|((_, why), count)| ((*why).to_owned(), count));
        let lost = lost.chain([("slow_inside".to_owned(), inside)]);
        let lost = lost.map(|(why, count)| (why, ConstCounter::new(count)));
        page.each(("messages_dropped", "reason"), "Messages that somebody did not get", lost)
    }

    fn state(&self, page: &mut Page<'_>, counts: &Counts) -> fmt::Result {
        page.gauge("sessions", "Sessions, with and without a connection", counts.sessions)?;
        page.gauge("sessions_connected", "Sessions with a connection", counts.connected)?;
        page.gauge("subscriptions", "Subscriptions", counts.subscriptions)?;
        page.gauge("retained_messages", "Retained messages", counts.retained)?;
        page.gauge("queued_messages", "Messages that wait in memory for sessions", counts.waiting)?;
        page.gauge("queued_bytes", "Bytes of them", counts.waiting_bytes)?;
        page.gauge("stored_messages", "Messages that wait for sessions on the disk only", counts.stored)?;
        page.gauge(
            "inflight_messages",
            "Messages that were sent and are not acknowledged",
            counts.in_flight,
        )?;
        if let Some((used, limit)) = self.memory {
            page.gauge("memory_bytes", "Memory that is taken", number(used))?;
            page.gauge("memory_budget_bytes", "Memory that may be taken", number(limit))?;
        }
        let pressure = self.figures.iter().map(|one| one.pressure).max();
        let pressure = pressure.map_or(0, |pressure| match pressure {
            Pressure::None => 0,
            Pressure::Tight => 1,
            Pressure::Scarce => 2,
            Pressure::Exhausted => 3,
        });
        page.gauge("memory_pressure", "0: enough, 1: tight, 2: scarce, 3: exhausted", pressure)
    }

    fn shards(&self, page: &mut Page<'_>) -> fmt::Result {
        let shards = || (0_u16..).map(|shard| shard.to_string()).zip(&self.figures);
        let busy = shards().map(|(shard, one)| (shard, ConstCounter::new(one.tally.busy.as_secs_f64())));
        page.each(("shard_busy_seconds", "shard"), "How long a shard did something else than wait", busy)?;
        let packets = shards().map(|(shard, one)| (shard, ConstCounter::new(one.counts.packets_received)));
        page.each(("shard_packets_received", "shard"), "Packets of a shard's clients", packets)?;
        let sessions = shards().map(|(shard, one)| (shard, ConstGauge::new(one.counts.sessions)));
        page.each(("shard_sessions", "shard"), "Sessions of a shard", sessions)
    }
}

impl Collector for Sample {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let counts = self.figures.iter().fold(Counts::default(), |sum, one| sum.plus(one.counts));
        self.connections(&mut page, &counts)?;
        self.messages(&mut page, &counts)?;
        self.state(&mut page, &counts)?;
        self.shards(&mut page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_to_their_end() {
        let end = "Host: x\r\nAccept: */*\r\n\r\n";
        for (line, wanted) in [
            ("GET /metrics HTTP/1.1", Request::Metrics),
            ("GET /metrics?x=1 HTTP/1.0", Request::Metrics),
            ("GET / HTTP/1.1", Request::Elsewhere),
            ("GET /metricsx HTTP/1.1", Request::Elsewhere),
            ("POST /metrics HTTP/1.1", Request::Change),
            ("\x10\x0D", Request::Malformed),
        ] {
            assert_eq!(parse(format!("{line}\r\n{end}").as_bytes()), Some(wanted), "{line}");
        }
        let whole = format!("GET /metrics HTTP/1.1\r\n{end}");
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole.as_bytes()[..cut]), None, "{cut}");
        }
        let endless = format!("GET /metrics HTTP/1.1\r\nX: {}", "y".repeat(REQUEST));
        assert_eq!(parse(endless.as_bytes()), Some(Request::Malformed));
    }
}
