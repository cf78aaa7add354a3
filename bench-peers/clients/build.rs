//! Builds the peer that is written in C, where its library (Debian's libpaho-mqtt-dev) is installed.

// Cargo's variables are how a build script is told anything.
#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=paho/bench.c");
    let program = Path::new(&std::env::var("OUT_DIR").unwrap()).join("paho");
    let arguments = ["-O2", "-Wall", "paho/bench.c", "-lpaho-mqtt3a", "-lpthread", "-o"];
    let is_built =
        Command::new("cc").args(arguments).arg(&program).status().is_ok_and(|status| status.success());
    if !is_built {
        println!("cargo::warning=Paho C is not compared with: libpaho-mqtt-dev or cc is not installed");
    }
    println!("cargo::rustc-env=PAHO={}", program.display());
}
