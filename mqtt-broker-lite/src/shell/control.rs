//! A socket in the data directory, by which its owner asks the running broker for a copy of the store: one line with
//! where to, one line as the answer.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // This is the shell.

use super::disk::Disk;
use crate::store::CONTROL;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long somebody may take to say what he wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest line.
const LINE: u64 = 64 << 10;

pub(super) struct Control {
    path: PathBuf,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Listens, if that is possible: everything else goes on without.
    pub(super) fn start(directory: &Path, disk: Disk) -> Option<Self> {
        let path = directory.join(CONTROL);
        // Whoever made it is gone: the directory is ours alone.
        let _ = std::fs::remove_file(&path);
        let start = || {
            let listener = UnixListener::bind(&path)?;
            let is_over = Arc::new(AtomicBool::new(false));
            let until = Arc::clone(&is_over);
            let thread = std::thread::Builder::new().name("mqtt-control".to_owned());
            let thread = thread.spawn(move || serve(&listener, &disk, &until))?;
            Ok::<_, io::Error>((is_over, thread))
        };
        match start() {
            Ok((is_over, thread)) => Some(Self { path, is_over, thread: Some(thread) }),
            Err(error) => {
                tracing::warn!(%error, "no socket in the data directory, so no `store backup` while this runs");
                None
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let is_woken = UnixStream::connect(&self.path).is_ok();
        let _ = std::fs::remove_file(&self.path);
        if is_woken
            && let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the control socket panicked");
        }
    }
}

fn serve(listener: &UnixListener, disk: &Disk, is_over: &AtomicBool) {
    for stream in listener.incoming() {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        if let Err(error) = stream.and_then(|stream| answer(&stream, disk)) {
            tracing::warn!(%error, "somebody at the control socket was not served");
        }
    }
}

fn answer(mut stream: &UnixStream, disk: &Disk) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    io::Read::take(BufReader::new(stream), LINE).read_line(&mut line)?;
    let answer = match line.strip_suffix('\n') {
        Some(target) if Path::new(target).is_absolute() => match disk.backup(target.into()) {
            Ok(()) => "done\n".to_owned(),
            Err(error) => format!("{error}\n"),
        },
        _ => "an absolute path is expected\n".to_owned(),
    };
    stream.write_all(answer.as_bytes())
}
