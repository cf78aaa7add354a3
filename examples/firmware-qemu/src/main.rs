//! An MQTT client on a Cortex-M without operating system and allocator, run by QEMU: `scripts/firmware-test`.
//!
//! The UART is the network. In each version of the protocol the board connects, subscribes, publishes at every QoS,
//! receives its own messages, loses its connection in the middle of three exchanges, resumes the session, and leaves.
//! The result is QEMU's exit status.

#![no_std]
#![no_main]

mod board;
mod clock;
mod session;
mod uart;

use clock::Clock;
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};
use mqtt_client::{Storage, Version};
use uart::Uart;

#[entry]
fn main() -> ! {
    static mut STORAGE: Storage<8, 512, 256> = Storage::new();
    static mut RECEIVE: [u8; 256] = [0; 256];

    let peripherals = cortex_m::Peripherals::take().expect("nobody took them before");
    let clock = Clock::start(peripherals.SYST);
    let mut uart = Uart::switch_on(clock);
    for version in [Version::V3_1, Version::V3_1_1, Version::V5] {
        match session::run(&mut uart, clock, STORAGE.lend(), RECEIVE, version) {
            Ok(()) => hprintln!("{}: {:?} passed", board::BOARD.name, version),
            Err(fault) => {
                hprintln!("{}: {:?} failed: {:?}", board::BOARD.name, version, fault);
                end(debug::EXIT_FAILURE);
            }
        }
    }
    end(debug::EXIT_SUCCESS)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    end(debug::EXIT_FAILURE)
}

/// Ends QEMU; a real board would stay here.
fn end(status: debug::ExitStatus) -> ! {
    loop {
        debug::exit(status);
    }
}
