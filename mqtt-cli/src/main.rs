//! `mqtt`: publish, subscribe, request, measure and probe from the command line.
//!
//! `pub`, `sub` and `rr` are mosquitto's programs with the same options, output and exit codes; called under the name
//! `mosquitto_pub`, `mosquitto_sub` or `mosquitto_rr`, for example by a symbolic link, the program is that one.

// A program: clocks, files, sockets and sums of what it counts are its work.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::arithmetic_side_effects)]

mod bench;
mod codec;
mod connect;
mod failure;
mod manual;
mod options;
mod output;
mod probe;
mod publish;
mod request;
mod secret;
mod subscribe;
mod watch;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use failure::{Failure, Outcome};
use options::{Parsed, Settings, Tool};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let rest: Vec<OsString> = arguments.collect();
    let name = std::path::Path::new(&program).file_name().unwrap_or_default().to_os_string();
    let by_name = Tool::ALL.into_iter().find(|tool| name == tool.mosquitto_name());
    let by_command =
        Tool::ALL.into_iter().find(|tool| rest.first().is_some_and(|first| first == tool.name()));
    match (by_name, by_command) {
        (Some(tool), _) => run_tool(tool, tool.mosquitto_name(), &rest),
        (None, Some(tool)) => run_tool(tool, tool.name(), rest.get(1..).unwrap_or_default()),
        (None, None) => run_command(&rest),
    }
}

fn run_tool(tool: Tool, name: &'static str, arguments: &[OsString]) -> ExitCode {
    let settings = match options::parse(tool, arguments) {
        Ok(Parsed::Run(settings)) => settings,
        Ok(Parsed::Help) => {
            let help = manual::command_of(tool, name).render_help();
            println!("{help}");
            return ExitCode::SUCCESS;
        }
        Ok(Parsed::Version) => {
            println!("{name} version {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Err(failure) => {
            let quiet = arguments.iter().any(|argument| argument == "--quiet") && !failure.is_usage;
            return end(Err(failure), quiet, &format!("\nUse '{name} --help' to see usage."));
        }
    };
    let quiet = settings.quiet;
    end(in_runtime(&settings), quiet, "")
}

fn in_runtime(settings: &Settings) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        match settings.tool {
            Tool::Pub => publish::run(settings).await,
            Tool::Sub => subscribe::run(settings).await,
            Tool::Rr => request::run(settings).await,
        }
    });
    // A thread that reads standard input cannot be told to end.
    runtime.shutdown_background();
    result
}

fn end(result: Outcome, quiet: bool, advice: &str) -> ExitCode {
    let result = result.and_then(|()| std::io::stdout().flush().map_err(Failure::from));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.words.is_empty() && !quiet {
                eprintln!("{}", failure.words);
            }
            if failure.is_usage && !advice.is_empty() {
                eprintln!("{advice}");
            }
            ExitCode::from(failure.code)
        }
    }
}

fn run_command(arguments: &[OsString]) -> ExitCode {
    let words = std::iter::once(OsString::from("mqtt")).chain(arguments.iter().cloned());
    let matches = match manual::command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let result = match matches.subcommand() {
        Some(("completions", matches)) => {
            if let Some(shell) = matches.get_one::<clap_complete::Shell>("shell") {
                clap_complete::generate(*shell, &mut manual::command(), "mqtt", &mut std::io::stdout());
            }
            Ok(())
        }
        Some(("man", matches)) => {
            let directory = matches.get_one::<String>("directory").map(String::as_str).unwrap_or_default();
            manual::write_pages(directory).map_err(Failure::from)
        }
        Some(("bench", matches)) => bench::run(matches),
        Some(("probe", matches)) => probe::run(matches),
        _ => Err(Failure::usage("no such command")),
    };
    end(result, false, "")
}
