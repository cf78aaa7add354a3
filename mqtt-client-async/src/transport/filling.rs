//! A carrier of which each read has all that has come.
//!
//! TLS and WebSocket hand out one record and one message after the other. Who takes the first for all that there is
//! waits for more with most of it unread (`Pace`).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) struct Filling<S> {
    pub(super) inner: S,
    /// What came behind the bytes of the last read.
    fault: Option<io::Error>,
}

impl<S> Filling<S> {
    pub(super) const fn new(inner: S) -> Self {
        Self { inner, fault: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Filling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(fault) = self.fault.take() {
            return Poll::Ready(Err(fault));
        }
        let start = buffer.filled().len();
        loop {
            let before = buffer.filled().len();
            let result = Pin::new(&mut self.inner).poll_read(cx, buffer);
            let has_some = before > start;
            match result {
                Poll::Ready(Ok(())) if buffer.filled().len() > before && buffer.remaining() > 0 => continue,
                Poll::Ready(Err(fault)) if has_some => self.fault = Some(fault),
                // An end is found again.
                Poll::Pending if has_some => {}
                other => return other,
            }
            return Poll::Ready(Ok(()));
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Filling<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use super::*;

    /// Has one byte in each read, and then what was set.
    struct Pieces(VecDeque<Poll<io::Result<u8>>>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.0.pop_front() {
                Some(piece) => piece.map_ok(|byte| buffer.put_slice(&[byte])),
                None => Poll::Ready(Ok(())),
            }
        }
    }

    fn read(carrier: &mut Filling<Pieces>, len: usize) -> Poll<Result<Vec<u8>, io::ErrorKind>> {
        let mut bytes = vec![0; len];
        let mut buffer = ReadBuf::new(&mut bytes);
        let result = Pin::new(carrier).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
        result.map_ok(|()| buffer.filled().to_vec()).map_err(|error| error.kind())
    }

    #[test]
    fn a_read_has_all_that_has_come_and_what_came_behind_it_comes_next() {
        let byte = |byte| Poll::Ready(Ok(byte));
        let fault = || Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        let pieces = [byte(1), byte(2), Poll::Pending, Poll::Pending, byte(3), byte(4), byte(5), fault()];
        let mut carrier = Filling::new(Pieces(pieces.into()));
        assert_eq!(read(&mut carrier, 9), Poll::Ready(Ok(vec![1, 2])));
        assert_eq!(read(&mut carrier, 9), Poll::Pending);
        assert_eq!(read(&mut carrier, 2), Poll::Ready(Ok(vec![3, 4])));
        assert_eq!(read(&mut carrier, 9), Poll::Ready(Ok(vec![5])));
        assert_eq!(read(&mut carrier, 9), Poll::Ready(Err(io::ErrorKind::ConnectionReset)));
        assert_eq!(read(&mut carrier, 9), Poll::Ready(Ok(vec![])));
        let mut carrier = Filling::new(Pieces([byte(1)].into()));
        assert_eq!(read(&mut carrier, 9), Poll::Ready(Ok(vec![1])));
        assert_eq!(read(&mut carrier, 9), Poll::Ready(Ok(vec![])));
        assert_eq!(
            read(&mut Filling::new(Pieces([fault()].into())), 9),
            Poll::Ready(Err(io::ErrorKind::ConnectionReset))
        );
    }
}
