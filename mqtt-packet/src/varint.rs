//! The Variable Byte Integer: seven bits a byte, low bits first, at most four bytes
//! (3.1.1 section 2.2.3, 5.0 section 1.5.5).

/// The largest Remaining Length, and the largest Variable Byte Integer: 268,435,455.
pub const MAX_REMAINING_LENGTH: u32 = 268_435_455;

/// An integer as it came. Two numbers, which a small machine returns in registers.
#[derive(Clone, Copy)]
pub(crate) struct VarInt {
    pub(crate) value: u32,
    /// How many bytes it took: 0 where more are needed to know, [`ENDLESS`](Self::ENDLESS) where a fifth would follow.
    pub(crate) len: u32,
}

impl VarInt {
    pub(crate) const ENDLESS: u32 = 5;

    /// Whether fewer bytes would have done, which only 5.0 forbids.
    #[inline(always)]
    pub(crate) const fn is_overlong(self) -> bool {
        cfg!(feature = "v5")
            && self.len > 1
            && self.value.wrapping_shr(self.len.wrapping_sub(1).wrapping_mul(7)) == 0
    }
}

/// Reads an integer of one or two bytes, as nearly all are, and gives its value, its length and what is behind it. `None`
/// for any other, which [`read`] knows; small machines do without the shortcut.
#[inline(always)]
pub(crate) const fn read_short(bytes: &[u8]) -> Option<(u32, u8, &[u8])> {
    match bytes {
        _ if cfg!(not(target_pointer_width = "64")) => None,
        [value @ 0..=0x7F, behind @ ..] => Some((*value as u32, 1, behind)),
        [low, high @ 1..=0x7F, behind @ ..] => Some(((*high as u32) << 7 | (*low & 0x7F) as u32, 2, behind)),
        _ => None,
    }
}

/// Reads one integer from the front of `bytes`.
#[inline(never)]
pub(crate) fn read(bytes: &[u8]) -> VarInt {
    let mut value = 0;
    let mut len = 0_u32;
    for &byte in bytes {
        value |= u32::from(byte & 0x7F).wrapping_shl(len.wrapping_mul(7));
        len = len.wrapping_add(1);
        if byte < 0x80 {
            return VarInt { value, len };
        }
        if len == 4 {
            return VarInt { value, len: VarInt::ENDLESS };
        }
    }
    VarInt { value, len: 0 }
}

/// How many bytes `value` takes: 1 to 4.
#[inline]
pub(crate) const fn len(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// The shortest form of `value` [MQTT-1.5.5-1], in the first [`len`] bytes.
#[inline]
pub(crate) const fn write(value: u32) -> [u8; 4] {
    [septet(value), septet(value >> 7), septet(value >> 14), septet(value >> 21)]
}

/// The low seven bits of `value`, with bit 7 set where anything is above them.
#[inline]
const fn septet(value: u32) -> u8 {
    let low = (value & 0x7F) as u8;
    if value < 0x80 { low } else { low | 0x80 }
}
