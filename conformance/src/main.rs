//! Writes `docs/conformance.md`.

#![allow(clippy::disallowed_methods)] // It writes a file: that is its work.

use std::process::ExitCode;

use conformance::{Coverage, Layer, REPORT, Statements, report, workspace_root};

fn main() -> ExitCode {
    match write_report() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write_report() -> Result<(), Box<dyn std::error::Error>> {
    let root = workspace_root();
    let statements = Statements::read(&root.join("spec"))?;
    let coverage = Coverage::read(&root, &statements)?;
    std::fs::write(root.join(REPORT), report(&statements, &coverage))?;
    for layer in Layer::ALL {
        println!("{layer}: {} statements without a test", coverage.missing(layer).len());
    }
    coverage.faults().iter().for_each(|fault| println!("{fault}"));
    Ok(())
}
