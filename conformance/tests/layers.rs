//! The layers, held by the dependency graph: what a crate may depend on, and on which Rust its dependencies still build.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::semver::Version;
use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use conformance::workspace_root;

/// All a lower crate may depend on in a normal build; a dependency marked `true` must be optional.
const ALLOWED: &[(&str, &[(&str, bool)])] = &[
    (
        "mqtt-packet",
        &[("thiserror", false), ("bytes", true), ("serde", true), ("defmt", true), ("arbitrary", true)],
    ),
    (
        "mqtt-client",
        &[
            ("mqtt-packet", false),
            ("thiserror", false),
            ("embedded-io", true),
            ("embedded-io-async", true),
            ("rustls", true),
            ("log", true),
            ("defmt", true),
        ],
    ),
];

/// The Rust of devices: packet and client, and whatever they bring along, build on it.
const DEVICE_RUST: Version = Version::new(1, 85, 0);

/// Dependencies of packet and client that declare no `rust-version`, and why that is well.
const UNDECLARED: &[(&str, &str)] = &[
    ("bitflags 1.3", "of defmt; written for Rust 1.46"),
    ("defmt-macros 1.2", "goes with defmt, which declares 1.81"),
    ("getrandom 0.2", "of ring, for TLS; written for Rust 1.36"),
    ("subtle 2.6", "of rustls, for TLS; written for Rust 1.41"),
    ("untrusted 0.9", "of rustls, for TLS; no dependency, edition 2018"),
];

struct Graph {
    metadata: Metadata,
}

impl Graph {
    /// The graph with all features on, for this machine.
    fn read() -> Self {
        let host = std::process::Command::new("rustc").arg("-vV").output().unwrap().stdout;
        let host = String::from_utf8(host).unwrap();
        let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned();
        let metadata = MetadataCommand::new()
            .manifest_path(workspace_root().join("Cargo.toml"))
            .features(CargoOpt::AllFeatures)
            .other_options(vec!["--locked".to_owned(), "--filter-platform".to_owned(), host])
            .exec()
            .unwrap();
        Self { metadata }
    }

    fn member(&self, name: &str) -> &Package {
        let members = self.metadata.workspace_packages();
        members.into_iter().find(|package| package.name == name).unwrap_or_else(|| panic!("no crate {name}"))
    }

    /// Everything that a normal build of a member compiles, procedural macros included, the member itself excluded.
    fn built_with(&self, name: &str) -> Vec<&Package> {
        let nodes: BTreeMap<&PackageId, _> =
            self.metadata.resolve.as_ref().unwrap().nodes.iter().map(|node| (&node.id, node)).collect();
        let root = &self.member(name).id;
        let mut seen = BTreeSet::from([root]);
        let mut open = vec![root];
        while let Some(id) = open.pop() {
            for dependency in &nodes[id].deps {
                let is_built =
                    dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development);
                if is_built && seen.insert(&dependency.pkg) {
                    open.push(&dependency.pkg);
                }
            }
        }
        self.metadata
            .packages
            .iter()
            .filter(|package| package.id != *root && seen.contains(&package.id))
            .collect()
    }
}

#[test]
fn lower_crates_depend_on_nothing_else() {
    let graph = Graph::read();
    for (name, allowed) in ALLOWED {
        for dependency in &graph.member(name).dependencies {
            if dependency.kind == DependencyKind::Development {
                continue;
            }
            let rule = allowed.iter().find(|(allowed, _)| *allowed == dependency.name);
            let Some((_, must_be_optional)) = rule else {
                panic!("{name} must not depend on {}", dependency.name)
            };
            assert!(
                dependency.optional || !must_be_optional,
                "{} must be optional in {name}",
                dependency.name
            );
        }
    }
}

/// Else the tests below would hold for a graph that was not walked.
#[test]
fn the_graph_reaches_procedural_macros() {
    let graph = Graph::read();
    let built = graph.built_with("mqtt-packet");
    assert!(built.iter().any(|package| package.name == "thiserror-impl"));
    assert!(built.iter().all(|package| package.name != "proptest"), "a development dependency was followed");
}

#[test]
fn the_client_is_free_of_a_runtime() {
    let graph = Graph::read();
    for name in ["mqtt-packet", "mqtt-client"] {
        for package in graph.built_with(name) {
            assert_ne!(package.name, "tokio", "{name} depends on tokio");
        }
    }
}

/// The command line is the top: it uses the async client, and the broker only to test against it.
#[test]
fn the_command_line_is_on_top() {
    let graph = Graph::read();
    let below = ["mqtt-client-async", "mqtt-client", "mqtt-packet"];
    let members: BTreeSet<_> =
        graph.metadata.workspace_packages().into_iter().map(|package| package.name.to_string()).collect();
    for package in graph.built_with("mqtt-cli") {
        let name = package.name.to_string();
        assert!(!members.contains(&name) || below.contains(&name.as_str()), "mqtt-cli depends on {name}");
    }
    for package in graph.metadata.workspace_packages() {
        let used = package.dependencies.iter().find(|dependency| dependency.name == "mqtt-cli");
        assert!(used.is_none(), "{} depends on mqtt-cli", package.name);
    }
}

#[test]
fn nothing_depends_on_the_simulator() {
    for package in Graph::read().metadata.workspace_packages() {
        let used = package
            .dependencies
            .iter()
            .find(|dependency| ["sim", "conformance"].contains(&&*dependency.name));
        assert!(used.is_none(), "{} depends on {}", package.name, used.unwrap().name);
    }
}

#[test]
fn dependencies_of_packet_and_client_build_on_the_rust_of_devices() {
    let graph = Graph::read();
    let mut faults = BTreeSet::new();
    for name in ["mqtt-packet", "mqtt-client"] {
        for package in graph.built_with(name) {
            let is_excused = UNDECLARED.iter().any(|(excused, _)| *excused == spec(package));
            match &package.rust_version {
                Some(needed) if *needed > DEVICE_RUST => {
                    faults.insert(format!("{name}: {} needs Rust {needed}", spec(package)));
                }
                None if !is_excused => {
                    faults.insert(format!("{name}: {} declares no rust-version", spec(package)));
                }
                _ => {}
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// `name version`, the version without its last part.
fn spec(package: &Package) -> String {
    format!("{} {}.{}", package.name, package.version.major, package.version.minor)
}

#[test]
fn packet_and_client_declare_the_rust_of_devices() {
    let graph = Graph::read();
    for name in ["mqtt-packet", "mqtt-client"] {
        assert_eq!(graph.member(name).rust_version, Some(DEVICE_RUST), "{name}");
    }
}

/// It needs cmake and a C++ compiler, which a machine with only Rust and a C compiler does not have.
#[test]
fn aws_lc_is_not_in_the_tree() {
    let graph = Graph::read();
    let found = graph.metadata.packages.iter().find(|package| package.name.starts_with("aws-lc"));
    assert!(found.is_none(), "{}", found.unwrap().id);
}
