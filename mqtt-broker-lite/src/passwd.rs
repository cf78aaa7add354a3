//! `mqtt-broker-lite passwd FILE NAME`: sets or deletes a password in a password file.

use mqtt_broker_lite::access::hash;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The password file; it is made if it is not there
    file: PathBuf,
    /// The user name
    name: String,
    /// Delete this user
    #[arg(long)]
    delete: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let name = &options.name;
    if name.is_empty() || name.contains(':') || name.starts_with('#') || name.chars().any(char::is_control) {
        return Err(format!("{name:?} cannot be a user name in a password file"));
    }
    let path = &options.file;
    let old = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !options.delete => String::new(),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let is_own = |line: &&str| line.split_once(':').is_some_and(|(user, _)| user == name);
    let mut lines: Vec<_> = old.lines().filter(|line| !is_own(line)).map(str::to_owned).collect();
    if options.delete {
        if lines.len() == old.lines().count() {
            return Err(format!("{}: there is no {name}", path.display()));
        }
    } else {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| error.to_string())?;
        lines.push(format!("{name}:{}", hash(ask()?.as_bytes(), &salt)?));
    }
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    replace(path, &text).map_err(|error| format!("{}: {error}", path.display()))
}

/// From the terminal, twice and unseen; else the first line of standard input.
fn ask() -> Result<String, String> {
    let stdin = std::io::stdin();
    let password = if stdin.is_terminal() {
        let first = rpassword::prompt_password("Password: ").map_err(|error| error.to_string())?;
        let second = rpassword::prompt_password("Again: ").map_err(|error| error.to_string())?;
        if first != second {
            return Err("the passwords differ".to_owned());
        }
        first
    } else {
        let mut line = String::new();
        stdin.lock().read_line(&mut line).map_err(|error| error.to_string())?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    if password.is_empty() { Err("the password is empty".to_owned()) } else { Ok(password) }
}

/// The old file or the new one, never half of it; for this user's eyes only.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // What an interrupted run left is not looked at.
    let _ = std::fs::remove_file(&new);
    let mut file = options.open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}
