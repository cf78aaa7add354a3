//! `-S`: the server by DNS SRV records (RFC 2782), asked of the system's name server.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;

use crate::failure::{Failure, Outcome};

const TYPE_SRV: u16 = 33;
const CLASS_IN: u16 = 1;
const PATIENCE: Duration = Duration::from_secs(3);
const ATTEMPTS: usize = 3;

/// A place that offers the service.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    priority: u16,
    weight: u16,
    port: u16,
    host: String,
}

/// Host and port of the MQTT server of a domain.
pub(super) async fn look_up(domain: &str, has_tls: bool) -> Outcome<(String, u16)> {
    let name = format!("_{}._tcp.{domain}", if has_tls { "secure-mqtt" } else { "mqtt" });
    let records = ask(&name).await.map_err(|error| Failure::error(format!("look up {name}: {error}")))?;
    let best = records.into_iter().min_by_key(|record| (record.priority, u16::MAX - record.weight));
    let best = best.filter(|record| !record.host.is_empty());
    let best = best.ok_or_else(|| Failure::error(format!("{name} has no SRV record")))?;
    Ok((best.host, best.port))
}

/// The first name server in `/etc/resolv.conf`, or the one that `MQTT_NAME_SERVER` names.
fn name_server() -> SocketAddr {
    if let Some(address) = std::env::var("MQTT_NAME_SERVER").ok().and_then(|text| text.parse().ok()) {
        return address;
    }
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let address = servers.filter_map(|server| server.trim().parse::<IpAddr>().ok()).next();
    SocketAddr::new(address.unwrap_or(IpAddr::from([127, 0, 0, 1])), 53)
}

async fn ask(name: &str) -> std::io::Result<Vec<Record>> {
    let id = fastrand::u16(..);
    let query = query(id, name)?;
    let server = name_server();
    let local: SocketAddr = if server.is_ipv6() {
        SocketAddr::new(IpAddr::from([0_u16; 8]), 0)
    } else {
        SocketAddr::new(IpAddr::from([0_u8; 4]), 0)
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    let mut answer = vec![0; 4096];
    for _ in 0..ATTEMPTS {
        socket.send(&query).await?;
        let Ok(len) = tokio::time::timeout(PATIENCE, socket.recv(&mut answer)).await else {
            continue;
        };
        let malformed = || std::io::Error::other("the name server's answer cannot be read");
        return records(id, answer.get(..len?).unwrap_or_default()).ok_or_else(malformed);
    }
    Err(std::io::ErrorKind::TimedOut.into())
}

fn query(id: u16, name: &str) -> std::io::Result<Vec<u8>> {
    let mut query = Vec::new();
    // One question, recursion desired.
    for number in [id, 0x0100, 1, 0, 0, 0] {
        query.extend_from_slice(&number.to_be_bytes());
    }
    for label in name.trim_end_matches('.').split('.') {
        let len = u8::try_from(label.len()).ok().filter(|len| (1..64).contains(len));
        query.push(len.ok_or_else(|| std::io::Error::other("no domain name"))?);
        query.extend_from_slice(label.as_bytes());
    }
    query.push(0);
    query.extend_from_slice(&TYPE_SRV.to_be_bytes());
    query.extend_from_slice(&CLASS_IN.to_be_bytes());
    Ok(query)
}

/// The SRV records of an answer; `None` where it is malformed or not the answer to this question.
fn records(id: u16, answer: &[u8]) -> Option<Vec<Record>> {
    let number = |at: usize| Some(u16::from_be_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    if number(0)? != id {
        return None;
    }
    let (questions, answers) = (number(4)?, number(6)?);
    let mut at = 12;
    for _ in 0..questions {
        at = name(answer, at)?.1 + 4;
    }
    let mut records = Vec::new();
    for _ in 0..answers {
        at = name(answer, at)?.1;
        let (kind, len) = (number(at)?, usize::from(number(at + 8)?));
        let data = at + 10;
        if kind == TYPE_SRV {
            let (priority, weight, port) = (number(data)?, number(data + 2)?, number(data + 4)?);
            records.push(Record { priority, weight, port, host: name(answer, data + 6)?.0 });
        }
        at = data + len;
    }
    Some(records)
}

/// A domain name, and where it ends. It may go on elsewhere (RFC 1035 section 4.1.4).
fn name(answer: &[u8], start: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let (mut at, mut end) = (start, None);
    // A name that goes round in circles ends here.
    for _ in 0..128 {
        let len = *answer.get(at)?;
        match len {
            0 => return Some((labels.join("."), end.unwrap_or(at + 1))),
            1..64 => {
                let label = answer.get(at + 1..at + 1 + usize::from(len))?;
                labels.push(String::from_utf8_lossy(label).into_owned());
                at += 1 + usize::from(len);
            }
            192.. => {
                end = end.or(Some(at + 2));
                at = usize::from(len & 0x3F) << 8 | usize::from(*answer.get(at + 1)?);
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Vec<u8> {
        let mut answer = query(7, "_mqtt._tcp.example.org").unwrap();
        answer[7] = 1;
        // The name again, SRV, IN, a time to live, and the record with a compressed name.
        answer.extend_from_slice(&[192, 12, 0, 33, 0, 1, 0, 0, 0, 9, 0, 15]);
        answer.extend_from_slice(&[0, 1, 0, 2, 7, 91, 6]);
        answer.extend_from_slice(b"broker\xC0\x17");
        answer
    }

    #[test]
    fn a_record_is_read() {
        let record = Record { priority: 1, weight: 2, port: 1883, host: "broker.example.org".to_owned() };
        assert_eq!(records(7, &answer()), Some(vec![record]));
        assert_eq!(records(8, &answer()), None);
    }

    #[test]
    fn whatever_comes_instead_is_no_answer() {
        let answer = answer();
        for len in 0..answer.len() {
            assert_eq!(records(7, &answer[..len]), None, "{len}");
        }
        let circle = [0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 192, 12];
        assert_eq!(records(7, &circle), None);
    }
}
