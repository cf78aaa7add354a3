//! A TCP stream that can rest: while nobody waits for what it brings, nothing that arrives wakes this side.
//!
//! tokio has the system report whatever arrives at a socket, waited for or not. Each report wakes the thread: that costs
//! this side a system call, and the server, in whose time the kernel delivers, the wake-up. So where reading pauses
//! (`Pace`) the stream leaves tokio's reactor. It is read and written without it, and comes back when there is nothing
//! to read or no room to write.

use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::coop::cooperative;

pub(super) struct Restable {
    stream: Stream,
    /// Where it comes back to, whoever polls.
    runtime: Handle,
}

enum Stream {
    InReactor(TcpStream),
    Resting(std::net::TcpStream),
    /// It could not leave or come back, and is closed.
    Lost,
}

impl Restable {
    /// Of a stream in the reactor of this runtime.
    pub(super) const fn new(stream: TcpStream, runtime: Handle) -> Self {
        Self { stream: Stream::InReactor(stream), runtime }
    }

    /// Leaves the reactor, if it has not. Nobody may be waiting for it.
    pub(super) fn rest(&mut self) -> io::Result<()> {
        self.stream = match std::mem::replace(&mut self.stream, Stream::Lost) {
            Stream::InReactor(stream) => Stream::Resting(stream.into_std()?),
            other => other,
        };
        Ok(())
    }

    fn come_back(&mut self) -> io::Result<()> {
        let _guard = self.runtime.enter();
        self.stream = match std::mem::replace(&mut self.stream, Stream::Lost) {
            Stream::Resting(stream) => Stream::InReactor(TcpStream::from_std(stream)?),
            other => other,
        };
        Ok(())
    }

    /// Does it `now` where the stream rests, unless that has to wait; then it is back in the reactor, where `later` is
    /// how to do it.
    fn poll<R>(
        &mut self,
        cx: &mut Context<'_>,
        now: impl FnOnce(&mut std::net::TcpStream) -> io::Result<R>,
        later: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if let Stream::Resting(stream) = &mut self.stream {
            // How long one task may go on is for tokio to say, as with its own streams.
            ready!(Pin::new(&mut cooperative(std::future::ready(()))).poll(cx));
            match now(stream) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    self.come_back()?;
                }
                result => return Poll::Ready(result),
            }
        }
        match &mut self.stream {
            Stream::InReactor(stream) => later(Pin::new(stream), cx),
            _ => Poll::Ready(Err(ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncRead for Restable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // One of both has it.
        let buffer = std::cell::RefCell::new(buffer);
        self.poll(
            cx,
            |stream| {
                let mut buffer = buffer.borrow_mut();
                let n = stream.read(buffer.initialize_unfilled())?;
                buffer.advance(n);
                Ok(())
            },
            |stream, cx| stream.poll_read(cx, &mut buffer.borrow_mut()),
        )
    }
}

impl AsyncWrite for Restable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(cx, |stream| stream.write(bytes), |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, |stream| stream.flush(), |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(
            cx,
            |stream| stream.shutdown(std::net::Shutdown::Write),
            |stream, cx| stream.poll_shutdown(cx),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A stream that can rest, and its other end.
    async fn pair() -> (Restable, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stream, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        let other = other.unwrap().0;
        other.set_nodelay(true).unwrap();
        (Restable::new(stream.unwrap(), Handle::current()), other)
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads what is there.
    fn read_now(stream: &mut Restable, waker: &Waker) -> Poll<io::Result<Vec<u8>>> {
        let mut bytes = [0; 100];
        let mut buffer = ReadBuf::new(&mut bytes);
        let result = Pin::new(stream).poll_read(&mut Context::from_waker(waker), &mut buffer);
        result.map_ok(|()| buffer.filled().to_vec())
    }

    async fn a_while() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    #[tokio::test]
    async fn nothing_wakes_a_resting_stream_until_it_was_read_and_had_nothing() {
        let (mut stream, mut other) = pair().await;
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let woken = || count.0.swap(0, Ordering::Relaxed);
        assert!(read_now(&mut stream, &waker).is_pending());
        other.write_all(b"one").await.unwrap();
        a_while().await;
        assert_eq!(woken(), 1);
        assert_eq!(read_now(&mut stream, &waker).map(Result::unwrap), Poll::Ready(b"one".to_vec()));

        stream.rest().unwrap();
        stream.rest().unwrap();
        for byte in 0..10 {
            other.write_all(&[byte]).await.unwrap();
        }
        a_while().await;
        assert_eq!(woken(), 0);
        let all: Vec<u8> = (0..10).collect();
        assert_eq!(read_now(&mut stream, &waker).map(Result::unwrap), Poll::Ready(all));

        // As if it had never rested.
        assert!(read_now(&mut stream, &waker).is_pending());
        other.write_all(b"two").await.unwrap();
        a_while().await;
        assert_eq!(woken(), 1);
        assert_eq!(read_now(&mut stream, &waker).map(Result::unwrap), Poll::Ready(b"two".to_vec()));
    }

    #[tokio::test]
    async fn what_arrived_before_it_comes_back_is_not_missed() {
        let (mut stream, mut other) = pair().await;
        for round in 0..100 {
            stream.rest().unwrap();
            if round % 2 == 0 {
                assert!(read_now(&mut stream, Waker::noop()).is_pending());
            }
            other.write_all(&[round]).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), round);
        }
    }

    #[tokio::test]
    async fn a_resting_stream_writes_all_that_there_is_room_for_and_then_waits() {
        let (mut stream, mut other) = pair().await;
        let bytes: Vec<u8> = (0..8 << 20).map(|i: u32| i.to_le_bytes()[1]).collect();
        stream.rest().unwrap();
        let mut heard = Vec::new();
        let (written, read) = tokio::join!(
            async {
                stream.write_all(&bytes).await?;
                stream.rest()?;
                stream.shutdown().await
            },
            other.read_to_end(&mut heard)
        );
        written.unwrap();
        read.unwrap();
        assert!(heard == bytes);
    }

    #[tokio::test]
    async fn a_resting_stream_has_its_end() {
        let (mut stream, other) = pair().await;
        stream.rest().unwrap();
        drop(other);
        assert_eq!(stream.read(&mut [0; 10]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn who_reads_a_resting_stream_without_end_lets_others_have_their_turn() {
        let (mut stream, mut other) = pair().await;
        other.write_all(&[7; 10_000]).await.unwrap();
        a_while().await;
        stream.rest().unwrap();
        let mut bytes = [0; 10];
        let mut reads = 0;
        std::future::poll_fn(|cx| {
            while Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut bytes)).is_ready() {
                reads += 1;
            }
            Poll::Ready(())
        })
        .await;
        assert!((10..1000).contains(&reads), "{reads}");
        assert!(matches!(stream.stream, Stream::Resting(_)));
    }

    #[test]
    fn it_comes_back_to_its_runtime_whoever_polls() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (mut stream, mut other) = runtime.block_on(pair());
        stream.rest().unwrap();
        assert!(read_now(&mut stream, Waker::noop()).is_pending());
        runtime.block_on(other.write_all(b"x")).unwrap();
        assert_eq!(runtime.block_on(stream.read_u8()).unwrap(), b'x');

        stream.rest().unwrap();
        drop(runtime);
        // There is nothing to come back to.
        assert!(matches!(read_now(&mut stream, Waker::noop()), Poll::Ready(Err(_))));
        assert!(matches!(read_now(&mut stream, Waker::noop()), Poll::Ready(Err(_))));
        assert!(stream.rest().is_ok());
    }
}
