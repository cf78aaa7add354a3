//! What a service manager (systemd, or another that speaks like it) is told, and the sockets that it hands over. Where
//! there is none, nothing happens.

use listenfd::ListenFd;
use mqtt_broker_lite::Inherited;
use sd_notify::NotifyState;

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Every listener is open, or a reload has ended.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// A reload begins.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager is not told of the reload"),
    }
}

/// The end begins.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The sockets that were handed over.
pub(crate) fn sockets() -> Result<Inherited, String> {
    let mut handed = ListenFd::from_env();
    let mut inherited = Inherited::default();
    for index in 0..handed.len() {
        if let Ok(Some(socket)) = handed.take_tcp_listener(index) {
            inherited.tcp.push(socket);
        } else if let Ok(Some(socket)) = handed.take_unix_listener(index) {
            inherited.unix.push(socket);
        } else {
            return Err(format!("LISTEN_FDS: socket {index} is for neither TCP nor streams of unix"));
        }
    }
    Ok(inherited)
}
