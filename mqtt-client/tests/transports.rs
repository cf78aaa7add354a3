//! The adapters of transports: what they do with nothing, with an end, and with bytes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

use mqtt_client::system::Tcp;
use mqtt_client::{Duration, FaultError, Faults, Faulty, Network};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;

const SHORT: Duration = Duration::from_millis(20);
const WAIT: Duration = Duration::from_secs(5);

/// Reads all of `wanted`, in whatever pieces it comes.
fn expect<N: Network>(network: &mut N, wanted: &[u8])
where
    N::Error: std::fmt::Debug,
{
    let mut found = Vec::new();
    while found.len() < wanted.len() {
        let mut buffer = [0; 16];
        let n = network.read(&mut buffer, WAIT).unwrap();
        found.extend_from_slice(&buffer[..n]);
    }
    assert_eq!(found, wanted);
}

#[test]
fn tcp_waits_no_longer_than_it_may_and_tells_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut network = Tcp::connect(listener.local_addr().unwrap(), WAIT).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    let mut buffer = [0; 16];
    for timeout in [Duration::ZERO, SHORT, Duration::ZERO, SHORT] {
        assert_eq!(network.read(&mut buffer, timeout).unwrap(), 0);
    }
    peer.write_all(b"hello").unwrap();
    expect(&mut network, b"hello");
    assert_eq!(network.write(b"world", WAIT).unwrap(), 5);
    network.flush().unwrap();
    let mut found = [0; 5];
    peer.read_exact(&mut found).unwrap();
    assert_eq!(&found, b"world");
    // A peer that takes nothing: in the end nothing goes, and the call returns.
    let block = vec![0; 1 << 20];
    for timeout in [Duration::ZERO, SHORT] {
        while network.write(&block, timeout).unwrap() > 0 {}
    }
    drop(peer);
    loop {
        match network.read(&mut buffer, WAIT) {
            Ok(_) => {}
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset));
                break;
            }
        }
    }
    network.close();
    assert!(Tcp::connect(("127.0.0.1", 1), SHORT).is_err());
}

#[cfg(unix)]
#[test]
fn unix_sockets_carry_bytes() {
    let path = std::env::temp_dir().join(format!("mqtt-client-unix-{}", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut network = mqtt_client::system::Unix::connect(&path).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(b"hello").unwrap();
    expect(&mut network, b"hello");
    assert_eq!(network.write(b"world", WAIT).unwrap(), 5);
    network.close();
    let mut found = Vec::new();
    peer.read_to_end(&mut found).unwrap();
    assert_eq!(found, b"world");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn faults_come_where_they_were_ordered() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let network = Tcp::connect(listener.local_addr().unwrap(), WAIT).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    let mut network = Faulty::new(network, Faults { split: 1, cut_after: Some(7), ..Faults::NONE });
    assert_eq!(network.write(b"12345", WAIT).unwrap(), 1);
    peer.write_all(b"abcdef").unwrap();
    expect(&mut network, b"abcdef");
    assert_eq!(network.moved(), 7);
    assert!(matches!(network.write(b"x", WAIT), Err(FaultError::Cut)));
    assert!(matches!(network.read(&mut [0; 4], WAIT), Err(FaultError::Cut)));
    network.set_faults(Faults { drop_after: Some(0), ..Faults::NONE });
    assert_eq!(network.write(b"into the void", WAIT).unwrap(), 13);
    peer.set_nonblocking(true).unwrap();
    let mut found = [0; 16];
    assert_eq!(peer.read(&mut found).unwrap(), 1);
    assert_eq!(peer.read(&mut found).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[cfg(feature = "embedded-io-v0_7")]
mod embedded {
    use super::{WAIT, expect};
    use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write, WriteReady};
    use mqtt_client::{EmbeddedIo, Network};

    /// A driver with a fifo of two bytes each way.
    #[derive(Default)]
    struct Uart {
        received: Vec<u8>,
        sent: Vec<u8>,
        room: usize,
        ended: bool,
    }

    impl ErrorType for Uart {
        type Error = ErrorKind;
    }

    impl Read for Uart {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
            assert!(!self.received.is_empty() || self.ended, "this would wait for ever");
            let n = buffer.len().min(2).min(self.received.len());
            for (place, byte) in buffer.iter_mut().zip(self.received.drain(..n)) {
                *place = byte;
            }
            Ok(n)
        }
    }

    impl ReadReady for Uart {
        fn read_ready(&mut self) -> Result<bool, ErrorKind> {
            Ok(!self.received.is_empty() || self.ended)
        }
    }

    impl Write for Uart {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
            assert!(self.room > 0, "this would wait for ever");
            let n = bytes.len().min(self.room);
            self.sent.extend_from_slice(&bytes[..n]);
            self.room = 0;
            Ok(n)
        }

        fn flush(&mut self) -> Result<(), ErrorKind> {
            Ok(())
        }
    }

    impl WriteReady for Uart {
        fn write_ready(&mut self) -> Result<bool, ErrorKind> {
            Ok(self.room > 0)
        }
    }

    #[test]
    fn a3_24_drivers_are_never_asked_for_what_they_would_wait_for() {
        let uart = Uart { received: b"hello".to_vec(), room: 2, ended: true, ..Uart::default() };
        let mut network = EmbeddedIo::new(uart);
        expect(&mut network, b"hello");
        assert_eq!(network.write(b"world", WAIT), Ok(2));
        assert_eq!(network.write(b"rld", WAIT), Ok(0));
        network.flush().unwrap();
        assert_eq!(network.read(&mut [0; 4], WAIT), Err(ErrorKind::ConnectionReset), "the end");
        network.close();
        assert_eq!(network.into_inner().sent, b"wo");
    }
}
