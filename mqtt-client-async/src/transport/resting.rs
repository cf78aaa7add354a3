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

    /// A stream that rests, and its other end.
    async fn pair() -> (Restable, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stream, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        let mut stream = Restable::new(stream.unwrap(), Handle::current());
        stream.rest().unwrap();
        (stream, other.unwrap().0)
    }

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Reads what is there.
    fn read_now(stream: &mut Restable, waker: &Waker) -> Poll<io::Result<Vec<u8>>> {
        let mut bytes = [0; 10];
        let mut buffer = ReadBuf::new(&mut bytes);
        let result = Pin::new(stream).poll_read(&mut Context::from_waker(waker), &mut buffer);
        result.map_ok(|()| buffer.filled().to_vec())
    }

    #[tokio::test]
    async fn nothing_wakes_a_resting_stream_until_it_was_read_and_had_nothing() {
        let (mut stream, mut other) = pair().await;
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        for is_woken in [0, 1, 0, 1] {
            if is_woken == 1 {
                assert!(read_now(&mut stream, &waker).is_pending());
            } else {
                stream.rest().unwrap();
            }
            for _ in 0..3 {
                other.write_all(b"x").await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            assert_eq!(count.0.swap(0, Ordering::Relaxed), is_woken);
            assert_eq!(read_now(&mut stream, &waker).map(Result::unwrap), Poll::Ready(b"xxx".to_vec()));
        }
    }

    #[tokio::test]
    async fn a_resting_stream_writes_all_that_there_is_room_for_and_then_waits_and_has_its_end() {
        let (mut stream, mut other) = pair().await;
        let bytes: Vec<u8> = (0..8 << 20).map(|i: u32| i.to_le_bytes()[1]).collect();
        let mut heard = Vec::new();
        let writing = async {
            stream.write_all(&bytes).await?;
            stream.rest()?;
            stream.shutdown().await
        };
        let (written, read) = tokio::join!(writing, other.read_to_end(&mut heard));
        written.unwrap();
        read.unwrap();
        assert!(heard == bytes);
        drop(other);
        assert_eq!(stream.read(&mut [0; 10]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn who_reads_a_resting_stream_without_end_lets_others_have_their_turn() {
        let (mut stream, mut other) = pair().await;
        other.write_all(&[7; 20_000]).await.unwrap();
        let reads =
            async { (0..2000).take_while(|_| read_now(&mut stream, Waker::noop()).is_ready()).count() };
        assert!((10..1000).contains(&reads.await));
        assert!(matches!(stream.stream, Stream::Resting(_)));
    }

    #[test]
    fn it_comes_back_to_its_runtime_whoever_polls() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (mut stream, mut other) = runtime.block_on(pair());
        assert!(read_now(&mut stream, Waker::noop()).is_pending());
        runtime.block_on(other.write_all(b"x")).unwrap();
        assert_eq!(runtime.block_on(stream.read_u8()).unwrap(), b'x');
        stream.rest().unwrap();
        drop(runtime);
        // There is nothing to come back to.
        for _ in 0..2 {
            assert!(matches!(read_now(&mut stream, Waker::noop()), Poll::Ready(Err(_))));
        }
    }
}
