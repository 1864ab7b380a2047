//! What every program here says: it numbers its messages, and answers those of the server.
//!
//! - `u BOOT N`: message N of this start, from 0 on, without end.
//! - `g BOOT TEXT`: the server's message TEXT arrived.
//!
//! BOOT tells one start of the machine from another.

use crate::log::Log;
use core::fmt::Write;
use embassy_executor::Spawner;
use embassy_time::Timer;
use holdline_esp::Handle;

type Line = Handle<'static, 'static>;

/// Spawns what numbers and what answers.
pub fn spawn(spawner: Spawner, line: Line, boot: u32) {
    spawner.spawn(count(line, boot).expect("it is spawned once"));
    spawner.spawn(answer(line, boot).expect("it is spawned once"));
}

/// A text that is written into a buffer; what does not fit is cut off.
struct Text<const N: usize>([u8; N], usize);

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let place = self.0.get_mut(self.1..self.1 + text.len()).ok_or(core::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.1 += text.len();
        Ok(())
    }
}

async fn send<const N: usize>(line: Line, text: core::fmt::Arguments<'_>) {
    let mut buffer = Text([0; N], 0);
    let _ = buffer.write_fmt(text);
    let text = core::str::from_utf8(&buffer.0[..buffer.1]).unwrap_or_default();
    if let Err(error) = line.send(text).await {
        let _ = writeln!(Log, "not sent: {error}");
    }
}

#[embassy_executor::task]
async fn count(line: Line, boot: u32) {
    for number in 0_u64.. {
        send::<48>(line, format_args!("u {boot} {number}")).await;
        Timer::after_millis(5).await;
    }
}

#[embassy_executor::task]
async fn answer(line: Line, boot: u32) {
    let mut buffer = [0; 512];
    while let Ok(received) = line.recv(&mut buffer).await {
        send::<544>(line, format_args!("g {boot} {}", received.text)).await;
        if let Some(receipt) = received.receipt {
            line.accept(receipt);
        }
    }
}
