//! What differs between the boards: the registers of the UART and the speed of the core.

/// A UART and a clock.
pub struct Board {
    /// Its name in QEMU.
    pub name: &'static str,
    /// Core cycles per millisecond.
    pub cycles_per_milli: u32,
    /// Where the registers of the UART begin; at the beginning is the one that takes and gives a byte.
    pub uart: usize,
    /// What to write into which register, by offset, to switch the UART on.
    pub switch_on: &'static [(usize, u32)],
    /// The offset of the register that tells the state.
    pub state: usize,
    /// The bit of the state that says whether the transmitter can take nothing.
    pub transmitter_full: u32,
    /// The bit of the state about the receiver, and its value when a byte is there.
    pub receiver: u32,
    /// See `receiver`.
    pub received: u32,
}

/// A PL011 with its queues of 16 bytes switched on, and a core of 12.5 MHz.
#[cfg(not(feature = "mps2-an386"))]
pub const BOARD: Board = Board {
    name: "lm3s6965evb",
    cycles_per_milli: 12_500,
    uart: 0x4000_C000,
    switch_on: &[(0x2C, 0x70), (0x30, 0x301)],
    state: 0x18,
    transmitter_full: 1 << 5,
    receiver: 1 << 4,
    received: 0,
};

/// ARM's CMSDK UART, and a core of 25 MHz.
#[cfg(feature = "mps2-an386")]
pub const BOARD: Board = Board {
    name: "mps2-an386",
    cycles_per_milli: 25_000,
    uart: 0x4000_4000,
    switch_on: &[(0x10, 16), (0x08, 3)],
    state: 0x04,
    transmitter_full: 1 << 0,
    receiver: 1 << 1,
    received: 1 << 1,
};
