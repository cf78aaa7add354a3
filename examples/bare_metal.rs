//! A client as on a board without an operating system: static memory, no allocator, `Network` and `Timer` of one's own.
//! Here a loop-back "UART" plays the server, so that it runs anywhere: `cargo run -p examples --example bare_metal`.

#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use mqtt_client::{
    Aliases, Client, ConnectOptions, Duration, Instant, Message, Network, Settings, Storage, Timer, Version,
};
use std::convert::Infallible;

/// What a driver's transmit and receive functions would be. This one answers CONNECT with CONNACK.
struct Uart {
    answer: &'static [u8],
}

impl Network for Uart {
    type Error = Infallible;

    fn read(&mut self, buffer: &mut [u8], _wait: Duration) -> Result<usize, Infallible> {
        let n = self.answer.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.answer[..n]);
        self.answer = &self.answer[n..];
        Ok(n)
    }

    fn write(&mut self, bytes: &[u8], _wait: Duration) -> Result<usize, Infallible> {
        println!("{bytes:02x?}");
        Ok(bytes.len())
    }

    fn close(&mut self) {}
}

/// What a timer interrupt would count.
struct Ticks(u32);

impl Timer for Ticks {
    fn now(&mut self) -> Instant {
        self.0 += 1;
        Instant::from_millis(self.0)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut storage = Storage::<4, 512, 128>::new();
    let mut receive = [0; 128];
    let uart = Uart { answer: &[0x20, 0x02, 0x00, 0x00] };
    let settings = Settings::new(Version::V3_1_1);
    let mut client = Client::new(uart, Ticks(0), storage.lend(), &mut receive, Aliases::none(), settings);

    client.connect(&ConnectOptions::new("board-1".try_into()?), Duration::from_secs(1))?;
    client.publish(&Message::new("plant/1/temperature".try_into()?, b"21.5"))?;
    client.disconnect(Duration::from_secs(1))?;
    Ok(())
}
