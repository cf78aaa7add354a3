//! `mqtt-broker-lite store`: look at a data directory, repair it, read it, copy it, while no broker uses it.

use clap::Subcommand;
use mqtt_broker_lite::StoreError;
use mqtt_broker_lite::store::{Finding, backup, check, compact, dump, repair};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// What to do with a data directory.
#[derive(Subcommand)]
pub enum StoreCommand {
    /// Compare everything in it with its checksums; 1 if something is missing or not as it was written
    Check {
        /// The data directory
        directory: PathBuf,
    },
    /// Leave out what is damaged, so that the broker starts again; what is left out is kept in DIR/damaged
    Repair {
        /// The data directory
        directory: PathBuf,
    },
    /// Write every record as one line of JSON
    Dump {
        /// The data directory
        directory: PathBuf,
    },
    /// Copy it to another directory; also while a broker uses it
    Backup {
        /// The data directory
        directory: PathBuf,
        /// Where to; missing or empty
        target: PathBuf,
    },
    /// Give back the space of what was removed
    Compact {
        /// The data directory
        directory: PathBuf,
    },
}

pub fn run(command: StoreCommand) -> Result<ExitCode, String> {
    let (directory, result) = match command {
        StoreCommand::Check { directory } => {
            let found = check(&directory);
            (directory, found.map(|findings| say(&findings)))
        }
        StoreCommand::Repair { directory } => {
            let done = repair(&directory);
            (
                directory,
                done.map(|findings| {
                    say(&findings);
                    ExitCode::SUCCESS
                }),
            )
        }
        StoreCommand::Dump { directory } => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            let dumped = dump(&directory, &mut out).and_then(|()| Ok(out.flush()?));
            (directory, without_broken_pipe(dumped).map(|()| ExitCode::SUCCESS))
        }
        StoreCommand::Backup { directory, target } => {
            let copied = backup(&directory, &target);
            (directory, copied.map(|()| ExitCode::SUCCESS))
        }
        StoreCommand::Compact { directory } => {
            let done = compact(&directory);
            (directory, done.map(|()| ExitCode::SUCCESS))
        }
    };
    result.map_err(|error| format!("{}: {error}", directory.display()))
}

fn say(findings: &[Finding]) -> ExitCode {
    for finding in findings {
        println!("{}{}", if finding.is_damage { "DAMAGED: " } else { "" }, finding.text);
    }
    if findings.iter().any(|finding| finding.is_damage) { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

/// Whoever reads has seen enough.
fn without_broken_pipe(result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(StoreError::Io(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
