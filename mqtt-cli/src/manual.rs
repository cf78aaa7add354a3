//! Help, completions and manual pages, from the tables of the options.

use clap::{Arg, ArgAction, Command};

use crate::options::{Row, Tool, rows};

/// What `pub`, `sub` or `rr` takes, for clap to tell of. It is not clap that parses it.
pub(crate) fn command_of(tool: Tool, name: &'static str) -> Command {
    let mut command = Command::new(name)
        .about(tool.about())
        .after_help(EXIT_CODES)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true);
    for row in rows(tool) {
        command = command.arg(argument(row));
    }
    let options_file = Arg::new("options-file").short('o').value_name("FILE").num_args(1);
    command
        .arg(
            options_file
                .help("Read options from a file, one in each line, before those here")
                .help_heading("General"),
        )
        .arg(
            Arg::new("help")
                .long("help")
                .action(ArgAction::SetTrue)
                .help("This help")
                .help_heading("General"),
        )
        .arg(
            Arg::new("version")
                .long("version")
                .action(ArgAction::SetTrue)
                .help("The version")
                .help_heading("General"),
        )
}

const EXIT_CODES: &str = "Exit codes: 0 done and acknowledged; 1 wrong use or no connection; 7 the connection was lost; \
25 too large for the server; 27 time is over; otherwise the server's return code (3.x) or reason code (5.0).";

fn argument(row: &'static Row) -> Arg {
    let id = row.long.map_or_else(|| row.short.map(String::from).unwrap_or_default(), str::to_owned);
    let mut argument = Arg::new(id).help(row.help);
    if let Some(short) = row.short {
        argument = argument.short(short);
    }
    if let Some(long) = row.long {
        argument = argument.long(long);
    }
    if row.is_ours {
        argument = argument.help_heading("Beyond mosquitto");
    }
    if row.values.is_empty() {
        argument.action(ArgAction::SetTrue)
    } else {
        argument.value_names(row.values).num_args(row.values.len()).action(ArgAction::Append)
    }
}

/// The whole command line.
pub(crate) fn command() -> Command {
    let tools = Tool::ALL.map(|tool| command_of(tool, tool.name()));
    let generated = [
        Command::new("completions")
            .about("Print the completions of a shell: bash, elvish, fish, powershell or zsh")
            .arg(
                Arg::new("shell")
                    .value_name("SHELL")
                    .required(true)
                    .value_parser(clap::value_parser!(clap_complete::Shell)),
            ),
        Command::new("man")
            .about("Write the manual pages into a directory")
            .arg(Arg::new("directory").value_name("DIRECTORY").required(true)),
    ];
    Command::new("mqtt")
        .about("Publish, subscribe, request, measure and probe over MQTT 3.1, 3.1.1 and 5.0")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(tools)
        .subcommand(crate::bench::command())
        .subcommand(crate::probe::command())
        .subcommands(generated)
}

/// Writes a manual page for each command.
pub(crate) fn write_pages(directory: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(command(), directory)
}
