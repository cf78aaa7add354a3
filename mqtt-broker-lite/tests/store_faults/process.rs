//! The broker as a process, and what it says.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

pub struct Process {
    child: Child,
    pub address: String,
    said: Option<JoinHandle<String>>,
}

/// Runs the broker after a script, whose `$1` is the data directory, has prepared the file systems that only it sees.
pub fn in_namespace(script: &str, directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    let run = "exec \"$0\" --listen mqtt://127.0.0.1:0 --log warn --data-dir \"$@\"";
    command.args(["--map-root-user", "--mount", "sh", "-c", &format!("{script} && {run}")]);
    command.arg(env!("CARGO_BIN_EXE_mqtt-broker-lite")).arg(directory).args(arguments);
    command
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = String::new();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("it did not start: {said}"));
            if let Some(address) = line.strip_prefix("listening on mqtt://") {
                break address.to_owned();
            }
            said.push_str(&line);
        };
        let said = std::thread::spawn(move || lines.collect::<Vec<_>>().join("\n"));
        Self { child, address, said: Some(said) }
    }

    /// The root of the file systems that it sees.
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.child.id()))
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to stop; what it said.
    pub fn stop(self) -> String {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let (code, said) = self.wait();
        assert_eq!(code, Some(0), "{said}");
        said
    }

    /// Waits until it ends; its code and what it said.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        (code, self.said.take().unwrap().join().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
