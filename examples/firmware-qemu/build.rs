//! Gives the linker the memory of the board and the layout of `cortex-m-rt`.

use std::{env, fs, path::PathBuf};

fn main() {
    let board = if env::var_os("CARGO_FEATURE_MPS2_AN386").is_some() { "mps2-an386" } else { "lm3s6965evb" };
    let memory = format!("memory/{board}.x");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where"));
    fs::copy(&memory, out.join("memory.x")).expect("the memory of the board is described");
    println!("cargo:rerun-if-changed={memory}");
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    println!("cargo:rustc-link-arg-bins=--nmagic");
}
