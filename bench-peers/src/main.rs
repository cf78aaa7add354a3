//! Repeats one case, for callgrind to count.
//!
//! `bench-peers list` prints `GROUP PEER FRAMES` for every case; `bench-peers run GROUP PEER COUNT` does the item COUNT
//! times inside of the function `measured`.

use std::process::ExitCode;

use bench_peers::{Prepared, cases};

/// The only place where instructions count.
#[inline(never)]
fn measured(prepared: Prepared) {
    prepared();
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["list"] => {
            for case in cases() {
                println!("{} {} {}", case.group(), case.peer, case.item.frames.len());
            }
            return ExitCode::SUCCESS;
        }
        ["run", group, peer, count] => {
            let case = cases().into_iter().find(|case| case.group() == group && case.peer == peer);
            if let (Some(case), Ok(count)) = (case, count.parse()) {
                measured((case.prepare)(count));
                return ExitCode::SUCCESS;
            }
        }
        _ => {}
    }
    eprintln!("usage: bench-peers list | bench-peers run GROUP PEER COUNT");
    ExitCode::from(2)
}
