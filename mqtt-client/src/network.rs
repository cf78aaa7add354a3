//! The transport that a blocking client talks over: any ordered, lossless stream of bytes in both directions
//! (3.1.1 and 5.0 section 4.2).

use crate::time::Duration;

/// A connected stream of bytes.
///
/// The smallest port for a board: a `read` that takes what the receiver has, a `write` that fills what the sender has
/// free, both at once and without waiting, and a `close`.
pub trait Network {
    /// What can go wrong; the end of the stream is such an error, too.
    type Error;

    /// Reads into the front of `buffer`, which is not empty, and returns how many bytes came. 0 means that none came
    /// yet: the call may wait for the first byte, but no longer than `timeout`, and may return 0 at any time before.
    /// It never waits to fill the buffer.
    ///
    /// # Errors
    /// The stream has ended or is broken.
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, Self::Error>;

    /// Writes the front of `bytes`, which is not empty, and returns how much of it was taken; the rest is asked for
    /// again. 0 means that nothing can be taken now: the call may wait for room as `read` waits for bytes.
    ///
    /// # Errors
    /// The stream has ended or is broken.
    fn write(&mut self, bytes: &[u8], timeout: Duration) -> Result<usize, Self::Error>;

    /// Sends on its way what `write` may have collected. Called when there is nothing more to write for now. A stream
    /// that collects nothing has nothing to do here.
    ///
    /// # Errors
    /// The stream has ended or is broken.
    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Closes the stream in both directions. Called at most once, and nothing else after it.
    fn close(&mut self);
}

impl<N: Network + ?Sized> Network for &mut N {
    type Error = N::Error;

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, Self::Error> {
        (**self).read(buffer, timeout)
    }

    fn write(&mut self, bytes: &[u8], timeout: Duration) -> Result<usize, Self::Error> {
        (**self).write(bytes, timeout)
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        (**self).flush()
    }

    fn close(&mut self) {
        (**self).close();
    }
}
