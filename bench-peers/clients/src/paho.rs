//! Paho C's asynchronous client, a program of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Found;

const PROGRAM: &str = env!("PAHO");

pub fn is_there() -> bool {
    Path::new(PROGRAM).exists()
}

/// Runs it: `publish`, `receive` or `trips`.
pub fn run(port: u16, mode: &str, qos: u8, n: usize, from_outside: bool) -> Found {
    let mut child = Command::new(PROGRAM)
        .args([port.to_string(), mode.to_owned(), qos.to_string(), n.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = lines.next().unwrap().unwrap();
    if line == "ready" {
        let source = from_outside.then(|| crate::bare::source(port, qos, n));
        line = lines.next().unwrap().unwrap();
        if let Some(source) = source {
            source.join().unwrap();
        }
    }
    child.wait().unwrap();
    let mut figures = line.split(' ').map(|text| text.parse().unwrap());
    let mut next = || figures.next().unwrap();
    Found { figure: next(), cpu: next(), p50: next(), p99: next() }
}
