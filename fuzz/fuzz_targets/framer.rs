//! Any stream, in any pieces, through any buffer: the framer hands out what the stream in one piece says.
//!
//! Input: how the stream is read, as `Arbitrary` makes it, then the stream.

#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mqtt_packet::{
    DecodeError, FixedHeader, Frame, Framer, Packet, PacketType, Piece, Publish, PublishHead, Version,
};

#[derive(Arbitrary, Debug)]
struct Reading {
    version: Version,
    strict: bool,
    buffer_len: u8,
    max_packet_len: Option<u8>,
    /// Whether only the room of the current packet is used.
    exact: bool,
    /// Whether everything is handed out before more is read, or one piece only.
    greedy: bool,
    /// One less than how much comes with each read, over and over.
    reads: [u8; 4],
}

/// What comes out.
#[derive(Debug, PartialEq)]
enum Event {
    Packet(FixedHeader, Vec<u8>, Option<DecodeError>),
    /// A message whose payload comes in chunks.
    Message {
        head_len: usize,
        head: String,
        payload: Vec<u8>,
        is_whole: bool,
    },
    Refused(DecodeError),
    /// The stream ends, inside of a packet or not.
    End(bool),
}

fuzz_target!(|data: &[u8]| {
    // An input that ends too early is no finding.
    let _ = run(&mut Unstructured::new(data));
});

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let reading: Reading = input.arbitrary()?;
    let stream = input.bytes(input.len())?;
    assert_eq!(read(&reading, stream), expected(&reading, stream), "{reading:?}");
    Ok(())
}

/// What the framer makes of the stream.
fn read(reading: &Reading, stream: &[u8]) -> Vec<Event> {
    let mut memory = vec![0; usize::from(reading.buffer_len)];
    let mut framer = Framer::new(&mut memory, reading.version)
        .with_strict(reading.strict)
        .with_max_packet_len(reading.max_packet_len.map_or(u32::MAX, u32::from));
    let mut events = Vec::new();
    let mut rest = stream;
    for read in reading.reads.iter().cycle() {
        if let Err(error) = hand_out(&mut framer, reading, reading.greedy || rest.is_empty(), &mut events) {
            assert!(framer.next().is_none());
            events.push(Event::Refused(error));
            return events;
        }
        if rest.is_empty() {
            break;
        }
        let spare = if reading.exact { framer.spare_exact() } else { framer.spare() };
        if let Some(missing) = missing(stream, stream.len() - rest.len()).filter(|_| reading.exact) {
            assert!(spare.len() <= missing, "room for {} where {missing} are missing", spare.len());
        }
        let len = spare.len().min(rest.len()).min(usize::from(*read) + 1);
        let (now, later) = rest.split_at(len);
        spare[..len].copy_from_slice(now);
        framer.filled(len);
        rest = later;
        assert!(len > 0 || framer.ready() == Ok(true), "no room, and nothing that makes any");
    }
    events.push(Event::End(framer.is_inside_packet()));
    events
}

/// How many bytes behind the first `at` of the stream belong to the packet that stands there.
fn missing(stream: &[u8], at: usize) -> Option<usize> {
    let mut end = 0;
    while end <= at {
        end += FixedHeader::decode(stream.get(end..)?).ok()??.packet_len() as usize;
    }
    Some(end - at)
}

fn hand_out(
    framer: &mut Framer<'_>,
    reading: &Reading,
    all: bool,
    events: &mut Vec<Event>,
) -> std::result::Result<(), DecodeError> {
    while framer.ready()? {
        match framer.next().expect("something is ready") {
            Piece::Packet(frame) => events.push(whole(frame, reading.version)),
            Piece::PublishStart(head) => events.push(message(head, &[])),
            Piece::Chunk { bytes, last } => {
                let Some(Event::Message { payload, is_whole, .. }) = events.last_mut() else {
                    panic!("a chunk without its head")
                };
                assert!(!*is_whole && !bytes.is_empty());
                payload.extend_from_slice(bytes);
                *is_whole = last;
            }
        }
        if !all {
            return Ok(());
        }
    }
    assert!(framer.next().is_none());
    Ok(())
}

fn whole(frame: Frame<'_>, version: Version) -> Event {
    Event::Packet(frame.header(), frame.body().to_vec(), Packet::decode(frame, version).err())
}

fn message(head: PublishHead<'_>, payload: &[u8]) -> Event {
    let is_whole = payload.len() == head.payload_len as usize;
    Event::Message { head_len: head.head_len, head: head.to_string(), payload: payload.to_vec(), is_whole }
}

/// What the stream says when it is all there from the start.
fn expected(reading: &Reading, stream: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut rest = stream;
    loop {
        match next(reading, &mut rest) {
            Ok(event) => {
                let is_last = matches!(event, Event::End(_) | Event::Message { is_whole: false, .. });
                events.push(event);
                if is_last {
                    break;
                }
            }
            Err(error) => {
                events.push(Event::Refused(error));
                break;
            }
        }
    }
    if matches!(events.last(), Some(Event::Message { .. })) {
        events.push(Event::End(true));
    }
    events
}

fn next(reading: &Reading, rest: &mut &[u8]) -> std::result::Result<Event, DecodeError> {
    // What the buffer can see of the stream, unless the payload goes past it.
    let buffer_len = usize::from(reading.buffer_len);
    let in_sight = &rest[..rest.len().min(buffer_len)];
    let more = if in_sight.len() == buffer_len {
        Err(DecodeError::PacketTooLarge)
    } else {
        Ok(Event::End(!rest.is_empty()))
    };
    let Some(header) = FixedHeader::decode(in_sight)? else { return more };
    let packet_len = header.packet_len() as usize;
    if reading.max_packet_len.is_some_and(|max| packet_len > usize::from(max)) {
        return Err(DecodeError::PacketTooLarge);
    }
    if packet_len <= buffer_len {
        return Ok(match Frame::split(rest)? {
            Some((frame, behind)) => {
                *rest = behind;
                whole(if reading.strict { frame.strict() } else { frame }, reading.version)
            }
            None => Event::End(true),
        });
    }
    if header.packet_type != PacketType::Publish {
        return Err(DecodeError::PacketTooLarge);
    }
    let overlong = rest[usize::from(header.header_len) - 1] == 0;
    if overlong && reading.version == Version::V5 {
        return Err(DecodeError::OverlongInteger);
    }
    let Some(head) = head_of(header, in_sight, reading.version) else { return more };
    let alone = framed(rest[0], head);
    let (frame, _) = Frame::split(&alone)?.expect("a whole frame");
    let publish = Publish::decode(if reading.strict { frame.strict() } else { frame }, reading.version)?;
    let payload_len = header.remaining_length - head.len() as u32;
    let behind = &rest[usize::from(header.header_len) + head.len()..];
    let (payload, behind) = behind.split_at(behind.len().min(payload_len as usize));
    *rest = behind;
    Ok(message(PublishHead { publish, head_len: head.len(), payload_len }, payload))
}

/// The head as a packet of its own.
fn framed(first: u8, head: &[u8]) -> Vec<u8> {
    match head.len() {
        len @ 0..=0x7F => [&[first, len as u8], head].concat(),
        len => [&[first, len as u8 | 0x80, (len >> 7) as u8], head].concat(),
    }
}

/// The bytes between fixed header and payload, or up to what is wrong with their lengths.
fn head_of(header: FixedHeader, packet: &[u8], version: Version) -> Option<&[u8]> {
    let body = &packet[usize::from(header.header_len)..];
    let topic_len = u16::from_be_bytes(*body.first_chunk()?);
    let mut len = 2 + usize::from(topic_len);
    if header.flags & 0b0110 != 0 {
        len += 2;
    }
    if version == Version::V5 {
        let bytes = body.get(len..)?;
        let (mut properties, mut shift) = (0, 0);
        for (at, byte) in bytes.iter().take(4).enumerate() {
            properties |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            let is_last = byte & 0x80 == 0;
            if is_last || at == 3 {
                let is_good = is_last && (at == 0 || *byte > 0);
                len += at + 1 + if is_good { properties } else { 0 };
                return body.get(..len);
            }
        }
        return None;
    }
    body.get(..len)
}
