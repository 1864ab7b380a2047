//! The log, on the console of QEMU's semihosting (`-semihosting-config enable=on,target=native,chardev=…`): it needs no device and
//! leaves the serial port alone.

use crate::board::uptime_ms;
use core::fmt::Write;
use holdline_esp::{Hooks, Notices, Report};

/// Writes lines to the log; as hooks, one for each link.
pub struct Log;

impl Write for Log {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        const CHUNK: usize = 127;
        for chunk in text.as_bytes().chunks(CHUNK) {
            let mut terminated = [0; CHUNK + 1];
            terminated[..chunk.len()].copy_from_slice(chunk);
            say(&terminated);
        }
        Ok(())
    }
}

/// Writes text that ends in a NUL.
fn say(text: &[u8]) {
    const SYS_WRITE0: usize = 4;
    // SAFETY: these three instructions, whole and on one page, are a call of the emulator, which reads up to the NUL.
    unsafe {
        core::arch::asm!(
            ".option push",
            ".option norvc",
            ".balign 16",
            "slli x0, x0, 0x1f",
            "ebreak",
            "srai x0, x0, 7",
            ".option pop",
            inlateout("a0") SYS_WRITE0 => _,
            in("a1") text.as_ptr(),
            options(nostack, readonly),
        );
    }
}

impl Hooks for Log {
    fn connection(&mut self, up: bool) {
        let _ = writeln!(Self, "[{} ms] {}", uptime_ms(), if up { "up" } else { "down" });
    }
}

impl Notices for Log {
    fn report(&mut self, report: &Report) {
        let Report { connects, uptime_s, damaged, dropped, .. } = report;
        let _ = writeln!(
            Self,
            "[{} ms] the relay, up for {uptime_s} s: connects={connects} damaged_there={damaged} dropped_there={dropped}",
            uptime_ms()
        );
    }
}
