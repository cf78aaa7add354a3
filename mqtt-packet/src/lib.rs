//! MQTT on the wire: control packets of MQTT 3.1, 3.1.1 and 5.0, from bytes and to bytes, and nothing else.
//!
//! No `std`, no allocation, no copy: a decoded packet borrows from the bytes it came from, and a packet is encoded
//! into memory that the caller lends. One model serves all versions; what differs between them ends inside this
//! crate. A packet that was decoded is a valid packet: whatever the standard forbids was refused, with an error
//! that names the statement it breaks.
//!
//! ```
//! use mqtt_packet::{Delivery, Frame, Publish, SliceSink, TopicName, Version};
//!
//! // Encode: length first, then one write into a lent buffer.
//! let publish = Publish::new(TopicName::new("plant/1/temperature").unwrap(), b"21.5");
//! let mut buffer = [0; 64];
//! let mut out = SliceSink::new(&mut buffer);
//! publish.encode(Version::V3_1_1, &mut out).unwrap();
//!
//! // Decode: cut a frame off the stream, look at its type, decode what you expect.
//! let (frame, rest) = Frame::split(out.written()).unwrap().expect("a whole packet");
//! let received = Publish::decode(frame, Version::V3_1_1).unwrap();
//! assert_eq!(received.topic.as_str(), "plant/1/temperature");
//! assert_eq!(received.delivery, Delivery::AtMostOnce);
//! assert_eq!(received.payload, b"21.5");
//! assert!(rest.is_empty());
//! ```
//!
//! Each packet has its own `decode`, `encoded_len` and `encode`, so a program links only what it calls;
//! [`Packet`] is the convenience that knows them all. [`Framer`] cuts packets out of any segmentation of the
//! stream and hands over payloads that are larger than its buffer piece by piece.
//!
//! Features: `v5` (default) is MQTT 5.0, `streaming` (default) lets a [`Framer`] hand over payloads in pieces, `strict`
//! (default) refuses characters in strings that the standard leaves to the receiver, where it is asked to; `bytes` connects to the crate of that name, `defmt` logs packets on devices. `serde` writes every packet, for example as a
//! line of JSON: strings as strings, payloads as bytes, reason codes as numbers, properties as a list of named values;
//! `***` stands where a password or Authentication Data is. It reads back the small values that borrow nothing.
//! `arbitrary` makes valid packets of a fuzzer's bytes.

#![no_std]
#![deny(clippy::arithmetic_side_effects)]

// `arbitrary` derives code that names `std`, and fuzzers have it.
#[cfg(any(test, feature = "arbitrary"))]
extern crate std;

#[cfg(feature = "arbitrary")]
mod arbitrary;
#[cfg(feature = "bytes")]
mod buffer;
mod error;
#[cfg(feature = "defmt")]
mod format;
mod framer;
mod header;
mod packet;
mod property;
mod qos;
mod reader;
mod reason;
#[cfg(feature = "serde")]
mod serialize;
mod sink;
mod topic;
mod utf8;
mod varint;
mod version;

#[cfg(feature = "bytes")]
pub use buffer::slice_of;
pub use error::{DecodeError, EncodeError, StringError};
pub use framer::{Framer, Piece};
pub use header::{FixedHeader, Frame, PacketType, Role};
pub use packet::{
    Ack, AckKind, Answer, Auth, ConnAck, Connect, Disconnect, Filters, FiltersIter, Packet, PingReq,
    PingResp, Publish, PublishHead, ReasonCodes, RetainHandling, SubAck, Subscribe, SubscribeFilter,
    SubscribeFilters, SubscribeFiltersIter, SubscribeOptions, UnsubAck, Unsubscribe, Will,
};
pub use property::{Properties, PropertiesIter, Property, PropertyId, PropertyPlace, PropertyWriter};
pub use qos::{Delivery, PacketId, QoS};
pub use reason::ReasonCode;
#[doc(hidden)]
pub use sink::copy;
pub use sink::{Sink, SliceSink};
pub use topic::{SharedFilter, TopicFilter, TopicName};
pub use utf8::Utf8Str;
pub use varint::MAX_REMAINING_LENGTH;
pub use version::Version;
