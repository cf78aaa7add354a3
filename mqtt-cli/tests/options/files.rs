//! Files: payloads, options, and a server with a configuration of its own.

use std::process::{Child, Command, Stdio};

use crate::servers::{self, await_listener, free_ports};
use crate::world::{DIRECTORY, HAS_DEBIANS, Observer, Program, TOOLS, Tool, fresh_topic, run, words};

/// The path of a file with a payload.
pub fn payload() -> String {
    let path = DIRECTORY.join("payload");
    if !path.exists() {
        std::fs::write(&path, "from\na file").unwrap();
    }
    path.display().to_string()
}

/// A mosquitto with these lines in its configuration.
pub struct Small(Child, u16);

impl Small {
    pub fn start(lines: &str) -> Option<Self> {
        if !std::path::Path::new("/usr/sbin/mosquitto").exists() {
            assert!(std::env::var_os("CI").is_none(), "mosquitto is not installed");
            return None;
        }
        let [port] = free_ports();
        let file = DIRECTORY.join(format!("small-{port}.conf"));
        std::fs::write(&file, format!("listener {port} 127.0.0.1\nallow_anonymous true\n{lines}")).unwrap();
        let mut command = Command::new("/usr/sbin/mosquitto");
        let child = command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        await_listener(port);
        Some(Self(child.unwrap(), port))
    }

    pub fn port(&self) -> u16 {
        self.1
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The defaults file: one option per line, and the command line wins.
#[test]
fn the_defaults_file_of_each_program() {
    for server in servers::all() {
        let observer = Observer::new(&server);
        for tool in TOOLS {
            let topic = fresh_topic();
            observer.respond(&topic);
            observer.retain(&format!("{topic}/kept"), "kept");
            let configuration = DIRECTORY.join(format!("home-{topic}"));
            std::fs::create_dir_all(&configuration).unwrap();
            let port = server.port;
            let text = match tool {
                Tool::Pub => {
                    format!("# a comment\n-h 127.0.0.1\n-p {port}\n-t {topic}\n-m from the file\n-q 1\n")
                }
                Tool::Sub => format!("-h 127.0.0.1\n-p {port}\n\n-t {topic}/kept\n-C 1\n-F from %t\n"),
                Tool::Rr => format!("-h 127.0.0.1\n-p {port}\n-e {topic}/r\n-t {topic}\n-F re: %p\n-W 10\n"),
            };
            std::fs::write(configuration.join(tool.name()), text).unwrap();
            let command_line = if tool == Tool::Sub { "-v" } else { "-m here" };
            let results: Vec<(i32, String, Vec<String>)> = [Program::Ours, Program::Debians]
                .into_iter()
                .filter(|program| *program == Program::Ours || *HAS_DEBIANS)
                .filter(|program| *program == Program::Ours || tool != Tool::Pub)
                .map(|program| {
                    let mut watch = observer.watch(&topic);
                    let result = with_configuration(&configuration, program, tool, command_line);
                    (result.0, result.1, watch.take(usize::from(tool != Tool::Sub)))
                })
                .collect();
            assert_eq!(results[0].0, 0, "{tool:?} at {}: {results:?}", server.name);
            if let Some(theirs) = results.get(1) {
                assert_eq!(results[0], *theirs, "{tool:?} at {}", server.name);
            }
            if tool == Tool::Pub {
                // Theirs complains of two messages; ours takes the one of the command line, as its manual says.
                assert_eq!(results[0].2, [format!("{topic} q1 r0 \"here\" []")]);
            }
        }
    }
}

fn with_configuration(home: &std::path::Path, program: Program, tool: Tool, line: &str) -> (i32, String) {
    let directory =
        if program == Program::Ours { DIRECTORY.clone() } else { std::path::PathBuf::from("/usr/bin") };
    let output = Command::new(directory.join(tool.name()))
        .args(words(line))
        .env("XDG_CONFIG_HOME", home)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn an_options_file_by_name() {
    for server in servers::all() {
        let observer = Observer::new(&server);
        for tool in TOOLS {
            let topic = fresh_topic();
            observer.respond(&topic);
            observer.retain(&format!("{topic}/kept"), "kept");
            let file = DIRECTORY.join(format!("options-{topic}"));
            let text = match tool {
                Tool::Pub => format!("-t {topic}\n-D publish user-property name some value\n"),
                Tool::Sub => format!("-t {topic}/kept\n-C 1\n"),
                Tool::Rr => format!("-t {topic}\n-e {topic}/r\n-W 10\n"),
            };
            std::fs::write(&file, text).unwrap();
            let mut arguments = words(&format!("-h 127.0.0.1 -p {} -o", server.port));
            arguments.push(file.display().to_string());
            if tool != Tool::Sub {
                arguments.extend(words("-m hello"));
            }
            let mut watch = observer.watch(&topic);
            let result = run(Program::Ours, tool, &arguments, b"");
            assert_eq!(result.code, 0, "{tool:?} at {}: {}", server.name, result.err);
            let expected = match tool {
                Tool::Pub => "",
                Tool::Sub => "kept\n",
                Tool::Rr => "re: hello\n",
            };
            assert_eq!(result.out, expected);
            if tool == Tool::Pub {
                let seen = watch.take(1);
                assert!(seen[0].contains("some value"), "{seen:?}");
            }
        }
    }
    for tool in TOOLS {
        let result = run(Program::Ours, tool, &words("-o /no/such/file -t a"), b"");
        assert_eq!(result.code, 1);
    }
}
