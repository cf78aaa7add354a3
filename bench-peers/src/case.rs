//! One codec doing one thing to one item, ready to be repeated and measured.

use std::hint::black_box;

use bytes::BytesMut;

use crate::vectors::Item;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Bytes to packet.
    Decode,
    /// Packet to bytes.
    Encode,
}

impl Direction {
    /// As it is written in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Encode => "encode",
        }
    }
}

/// All repetitions, everything they need made before.
pub type Prepared = Box<dyn FnOnce()>;

/// A codec, an item and a direction.
pub struct Case {
    /// The codec's name.
    pub peer: &'static str,
    /// Which way.
    pub direction: Direction,
    /// What is decoded or encoded.
    pub item: Item,
    /// Prepares a number of repetitions of the whole item.
    pub prepare: Box<dyn Fn(usize) -> Prepared>,
    /// The item as this codec writes it after it read it.
    pub rewritten: Box<dyn Fn() -> Vec<Vec<u8>>>,
}

impl Case {
    /// `decode/3.1.1/publish`: what is measured, the same for all codecs.
    #[must_use]
    pub fn group(&self) -> String {
        format!("{}/{}/{}", self.direction.name(), self.item.version.name(), self.item.name)
    }
}

/// A codec that decodes a slice and encodes into one.
#[derive(Clone, Copy)]
pub struct SliceCodec<D, K, E> {
    /// Its name.
    pub name: &'static str,
    /// One whole frame to whatever the codec answers.
    pub decode: D,
    /// The packet in that answer; not measured.
    pub packet: K,
    /// A packet to the start of a buffer that is large enough; the number of bytes written.
    pub encode: E,
}

impl<D, K, E> SliceCodec<D, K, E> {
    /// Both directions of an item.
    pub fn cases<R: 'static, P: 'static>(&self, item: &Item) -> Vec<Case>
    where
        D: Fn(&'static [u8]) -> R + Copy + 'static,
        K: Fn(R) -> P + Copy + 'static,
        E: Fn(&P, &mut [u8]) -> usize + Copy + 'static,
    {
        let (frames, decode, packet, encode) = (item.frames, self.decode, self.packet, self.encode);
        let decoding = move |count: usize| -> Prepared {
            Box::new(move || {
                for _ in 0..count {
                    for frame in frames {
                        black_box(&decode(black_box(frame)));
                    }
                }
            })
        };
        let encoding = move |count: usize| -> Prepared {
            let packets: Vec<P> = frames.iter().map(|frame| packet(decode(frame))).collect();
            let mut buffer = vec![0; 4096];
            Box::new(move || {
                for _ in 0..count {
                    for packet in &packets {
                        black_box(encode(black_box(packet), black_box(&mut buffer)));
                    }
                }
            })
        };
        let rewritten = move || {
            let rewrite = |frame: &&'static [u8]| {
                let mut buffer = vec![0; 4096];
                let length = encode(&packet(decode(frame)), &mut buffer);
                buffer.truncate(length);
                buffer
            };
            frames.iter().map(rewrite).collect::<Vec<_>>()
        };
        both(self.name, item, decoding, encoding, rewritten)
    }
}

/// A codec that takes frames off a `BytesMut` and appends to one.
#[derive(Clone, Copy)]
pub struct StreamCodec<N, D, K, E> {
    /// Its name.
    pub name: &'static str,
    /// A new codec.
    pub new: N,
    /// Takes off the next frame and gives whatever the codec answers.
    pub decode: D,
    /// The packet in that answer; not measured.
    pub packet: K,
    /// A packet to the end of a buffer; the packet may be used up.
    pub encode: E,
}

impl<N, D, K, E> StreamCodec<N, D, K, E> {
    /// Both directions of an item.
    pub fn cases<C: 'static, R: 'static, P: 'static>(&self, item: &Item) -> Vec<Case>
    where
        N: Fn() -> C + Copy + 'static,
        D: Fn(&mut C, &mut BytesMut) -> R + Copy + 'static,
        K: Fn(R) -> P + Copy + 'static,
        E: Fn(&mut C, &mut P, &mut BytesMut) + Copy + 'static,
    {
        let (frames, new, decode, packet, encode) =
            (item.frames, self.new, self.decode, self.packet, self.encode);
        let stream = move |count: usize| {
            let bytes = frames.concat().repeat(count);
            // Some codecs reserve more than they need: that must not copy all of the rest.
            let mut stream = BytesMut::with_capacity(bytes.len() + 4096);
            stream.extend_from_slice(&bytes);
            stream
        };
        let packets = move |count: usize| {
            let (mut codec, mut stream) = (new(), stream(count));
            (0..count * frames.len()).map(|_| packet(decode(&mut codec, &mut stream))).collect::<Vec<P>>()
        };
        let decoding = move |count: usize| -> Prepared {
            let (mut codec, mut stream) = (new(), stream(count));
            Box::new(move || {
                for _ in 0..count * frames.len() {
                    black_box(&decode(&mut codec, black_box(&mut stream)));
                }
            })
        };
        let encoding = move |count: usize| -> Prepared {
            let (mut codec, mut packets) = (new(), packets(count));
            let mut buffer = BytesMut::with_capacity(4096);
            Box::new(move || {
                for packet in &mut packets {
                    buffer.clear();
                    encode(&mut codec, black_box(packet), black_box(&mut buffer));
                }
                // A codec that leaves its packets alone does not pay for dropping them.
                std::mem::forget(packets);
            })
        };
        let rewritten = move || {
            let rewrite = |mut packet: P| {
                let mut buffer = BytesMut::new();
                encode(&mut new(), &mut packet, &mut buffer);
                buffer.to_vec()
            };
            packets(1).into_iter().map(rewrite).collect::<Vec<_>>()
        };
        both(self.name, item, decoding, encoding, rewritten)
    }
}

fn both(
    peer: &'static str,
    item: &Item,
    decoding: impl Fn(usize) -> Prepared + 'static,
    encoding: impl Fn(usize) -> Prepared + 'static,
    rewritten: impl Fn() -> Vec<Vec<u8>> + Copy + 'static,
) -> Vec<Case> {
    let case = |direction, prepare: Box<dyn Fn(usize) -> Prepared>| Case {
        peer,
        direction,
        item: item.clone(),
        prepare,
        rewritten: Box::new(rewritten),
    };
    vec![case(Direction::Decode, Box::new(decoding)), case(Direction::Encode, Box::new(encoding))]
}
