//! What a program without an operating system needs besides its purpose: nearly nothing.

#![no_std]

/// No probe links a panic: `scripts/code-size` looks for what would call this.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
