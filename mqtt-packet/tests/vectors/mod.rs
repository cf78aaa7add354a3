//! Packets in hex, computed by hand from the tables of the standards: one file for each version.
//!
//! A name at the start of a line, then indented lines of hex digits and `'text'`; `;` starts a comment. `name -> other`
//! is another form of the same packet: it decodes like `other`, and is written like `other`. In the files of what is
//! refused, the error follows the name.

#![allow(dead_code, unreachable_pub)] // Each test binary uses its part.

use mqtt_packet::Version;

use crate::wire;

/// One packet.
#[derive(Clone, Debug)]
pub struct Vector {
    pub name: &'static str,
    /// The packet that it says the same as, itself in the usual form.
    pub usual: &'static str,
    pub version: Version,
    pub bytes: Vec<u8>,
}

impl Vector {
    pub fn is_usual(&self) -> bool {
        self.name == self.usual
    }
}

/// All packets of all versions that this build speaks.
pub fn all() -> Vec<Vector> {
    let versions = wire::ALL.into_iter().filter(|version| version.is_supported());
    versions.flat_map(of).collect()
}

/// The packets of one version.
pub fn of(version: Version) -> Vec<Vector> {
    let packets = read(match version {
        Version::V3_1 => include_str!("v3_1.wire"),
        Version::V3_1_1 => include_str!("v3_1_1.wire"),
        Version::V5 => include_str!("v5_0.wire"),
    });
    let vector = |(line, bytes): (&'static str, Vec<u8>)| {
        let (name, usual) = line.split_once(" -> ").unwrap_or((line, line));
        Vector { name, usual, version, bytes }
    };
    packets.into_iter().map(vector).collect()
}

/// Packets of one version that are none: name, bytes, and the error that says so.
pub fn refused(version: Version) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let packets = read(match version {
        Version::V3_1 => "",
        Version::V3_1_1 => include_str!("refused_v3_1_1.wire"),
        Version::V5 => include_str!("refused_v5_0.wire"),
    });
    let named = |(line, bytes): (&'static str, Vec<u8>)| {
        let (name, error) = line.split_once(": ").expect("a name and an error");
        (name, bytes, error)
    };
    packets.into_iter().map(named).collect()
}

/// The lines at the start of a line, and the bytes below them.
fn read(text: &'static str) -> Vec<(&'static str, Vec<u8>)> {
    let mut packets: Vec<(&str, Vec<u8>)> = Vec::new();
    for line in text.lines() {
        let line = line.split(';').next().unwrap_or_default().trim_end();
        if line.starts_with(' ') {
            assert!(
                !line.contains(['"', '{', '.']) || line.contains('\''),
                "a length that is not by hand: {line}"
            );
            packets.last_mut().expect("a name in front").1.extend(wire::wire(line));
        } else if !line.is_empty() {
            packets.push((line, Vec::new()));
        }
    }
    packets
}

/// The packet of this name.
pub fn named(name: &str, version: Version) -> Vector {
    of(version).into_iter().find(|vector| vector.name == name).unwrap_or_else(|| panic!("no vector {name}"))
}
