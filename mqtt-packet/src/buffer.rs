//! The crate `bytes`: a growing buffer to encode into, and borrowed parts kept alive without a copy.

use crate::{EncodeError, Sink};
use bytes::{Bytes, BytesMut};

impl Sink for BytesMut {
    fn room(&mut self, len: usize) -> Result<&mut [u8], EncodeError> {
        let start = self.len();
        self.resize(start.saturating_add(len), 0);
        self.get_mut(start..).ok_or(EncodeError::NoRoom)
    }
}

/// The part of `owner` that `part` borrows, as a counted slice; `None` where `part` lies elsewhere.
///
/// This is how a decoded packet outlives the buffer it was read into, without copying its topic or payload.
///
/// ```
/// use bytes::Bytes;
/// use mqtt_packet::{Frame, Publish, Version, slice_of};
/// let input = Bytes::from_static(b"\x30\x05\x00\x01thi");
/// let (frame, _) = Frame::split(&input).unwrap().unwrap();
/// let publish = Publish::decode(frame, Version::V3_1_1).unwrap();
/// assert_eq!(slice_of(&input, publish.payload).unwrap(), "hi");
/// assert_eq!(slice_of(&input, String::from("hi").as_bytes()), None);
/// ```
pub fn slice_of(owner: &Bytes, part: &[u8]) -> Option<Bytes> {
    let start = (part.as_ptr() as usize).checked_sub(owner.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (end <= owner.len()).then(|| owner.slice(start..end))
}
