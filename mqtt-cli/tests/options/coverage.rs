//! No option of mosquitto's programs is left out of these tests.

use crate::world::{Program, TOOLS, Tool, run, words};

/// Each option, and which programs have it: those of 2.0.11 and of 2.1.
const ALL: &[(&str, &str)] = &[
    ("-h --host -p --port --unix -L --url -S --ws -A --nodelay --proxy -u --username -P --pw", "psr"),
    ("-i --id -I --id-prefix -k --keepalive -c --disable-clean-session -x -V --protocol-version", "psr"),
    ("-D --property -q --qos -t --topic -M -d --debug --quiet --help --version -o", "psr"),
    ("--will-topic --will-payload --will-qos --will-retain", "psr"),
    ("--cafile --capath --tls-use-os-certs --cert --key --keyform --tls-engine", "psr"),
    ("--tls-engine-kpass-sha1 --ciphers --tls-version --tls-alpn --insecure --no-tls", "psr"),
    ("--psk --psk-identity --tls-keylog", "psr"),
    ("-m --message -f --file -n --null-message -s --stdin-file -l --stdin-line -r --retain", "pr"),
    ("--repeat --repeat-delay", "p"),
    ("-e --latency", "r"),
    ("-C -E --retained-only --remove-retained -T --filter-out -U --unsubscribe", "s"),
    ("--random-filter -w --watch --message-rate", "s"),
    ("-W -R --retain-as-published --retain-handling -v --verbose -N -F --pretty", "sr"),
];

/// The sources of the tests, in which each option must stand.
const TESTS: [&str; 7] = [
    include_str!("common.rs"),
    include_str!("publish.rs"),
    include_str!("subscribe.rs"),
    include_str!("request.rs"),
    include_str!("carriers.rs"),
    include_str!("files.rs"),
    include_str!("usage.rs"),
];

fn options() -> impl Iterator<Item = (&'static str, &'static str)> {
    ALL.iter().flat_map(|(options, tools)| options.split(' ').map(move |option| (option, *tools)))
}

#[test]
fn each_option_is_tested() {
    for (option, tools) in options() {
        let is_there = |text: &&str| {
            text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).any(|word| word == option)
        };
        let common = [TESTS[0], TESTS[4], TESTS[5], TESTS[6]];
        let own = |tool: char| match tool {
            'p' => TESTS[1],
            's' => TESTS[2],
            _ => TESTS[3],
        };
        let is_common = common.iter().any(is_there);
        for tool in tools.chars() {
            assert!(is_common || is_there(&own(tool)), "{option} of {tool}");
        }
    }
}

#[test]
fn each_program_has_its_options_and_no_others() {
    for tool in TOOLS {
        let letter = match tool {
            Tool::Pub => 'p',
            Tool::Sub => 's',
            Tool::Rr => 'r',
        };
        for (option, tools) in options() {
            let result = run(Program::Ours, tool, &words(&format!("{option} --no-such-option")), b"");
            let is_unknown = result.err.contains(&format!("Unknown option '{option}'"));
            assert_eq!(is_unknown, !tools.contains(letter), "{tool:?} {option}: {}", result.err);
        }
    }
}
