//! Packets in hex, computed by hand from the tables of the standards: one file for each version.
//!
//! A name at the start of a line, then indented lines of hex digits and `'text'`; `;` starts a comment. `name -> other`
//! is another form of the same packet: it decodes like `other`, and is written like `other`.

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
    let text = match version {
        Version::V3_1 => include_str!("v3_1.wire"),
        Version::V3_1_1 => include_str!("v3_1_1.wire"),
        Version::V5 => include_str!("v5_0.wire"),
    };
    let mut vectors: Vec<Vector> = Vec::new();
    for line in text.lines() {
        let line = line.split(';').next().unwrap_or_default().trim_end();
        if line.is_empty() {
            continue;
        }
        if line.starts_with(' ') {
            assert!(
                !line.contains(['"', '{', '.']) || line.contains('\''),
                "a length that is not by hand: {line}"
            );
            vectors.last_mut().expect("a name in front").bytes.extend(wire::wire(line));
        } else {
            let (name, usual) = line.split_once(" -> ").unwrap_or((line, line));
            vectors.push(Vector { name, usual, version, bytes: Vec::new() });
        }
    }
    vectors
}

/// The packet of this name.
pub fn named(name: &str, version: Version) -> Vector {
    of(version).into_iter().find(|vector| vector.name == name).unwrap_or_else(|| panic!("no vector {name}"))
}
