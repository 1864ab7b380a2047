//! QEMU's RISC-V machine `virt` for the programs of this folder, and what they say.
#![no_std]

pub mod board;
pub mod ethernet;
#[cfg(feature = "durable")]
pub mod flash;
pub mod log;
#[cfg(feature = "nal")]
pub mod nal;
pub mod pin;
pub mod speech;
pub mod tcp;
pub mod uart;
