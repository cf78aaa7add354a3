//! The board's UART as the client's `Network`: polled, without interrupts.
//!
//! A serial line is always there, so it has no error. What stands for "connected" is the program at its other end;
//! that this is gone, only silence tells.

#![allow(unsafe_code)] // Registers are reached by address: in `Uart::register`, and nowhere else.

use crate::board::BOARD;
use crate::clock::Clock;
use core::convert::Infallible;
use mqtt_client::{Duration, Network, Timer};

/// The UART. There is one.
pub struct Uart {
    clock: Clock,
}

impl Uart {
    /// Switches the UART on; to be called once.
    pub fn switch_on(clock: Clock) -> Self {
        for &(offset, value) in BOARD.switch_on {
            Self::write_register(offset, value);
        }
        Self { clock }
    }

    /// Drops what has arrived.
    pub fn discard_received(&mut self) {
        while self.receive().is_some() {}
    }

    fn read_register(offset: usize) -> u32 {
        // SAFETY: a register of the UART of the board that this was built for, aligned, and read as hardware wants it.
        unsafe { ((BOARD.uart + offset) as *const u32).read_volatile() }
    }

    fn write_register(offset: usize, value: u32) {
        // SAFETY: as above; no register of a UART makes it write to memory.
        unsafe { ((BOARD.uart + offset) as *mut u32).write_volatile(value) }
    }

    fn receive(&mut self) -> Option<u8> {
        let there = Self::read_register(BOARD.state) & BOARD.receiver == BOARD.received;
        there.then(|| Self::read_register(0) as u8)
    }

    fn send(&mut self, byte: u8) -> bool {
        let free = Self::read_register(BOARD.state) & BOARD.transmitter_full == 0;
        if free {
            Self::write_register(0, byte.into());
        }
        free
    }

    /// Repeats `step` until it did something or time is up.
    fn wait(&mut self, timeout: Duration, mut step: impl FnMut(&mut Self) -> bool) {
        let deadline = self.clock.now().after(timeout);
        while !step(self) && !self.clock.now().is_at_or_after(deadline) {}
    }
}

impl Network for Uart {
    type Error = Infallible;

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, Infallible> {
        let mut n = 0;
        self.wait(timeout, |uart| {
            for (place, byte) in buffer.iter_mut().zip(core::iter::from_fn(|| uart.receive())) {
                *place = byte;
                n += 1;
            }
            n > 0
        });
        Ok(n)
    }

    fn write(&mut self, bytes: &[u8], timeout: Duration) -> Result<usize, Infallible> {
        let mut n = 0;
        self.wait(timeout, |uart| {
            n = bytes.iter().take_while(|&&byte| uart.send(byte)).count();
            n > 0
        });
        Ok(n)
    }

    fn close(&mut self) {
        // A modem would be told to hang up.
        self.discard_received();
    }
}
