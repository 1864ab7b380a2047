//! The same firmware without Holdline: it connects, reads, writes and waits. It copies, moves, fills and compares bytes, as every
//! network stack does: these four are not Holdline's to pay for.
#![no_std]
#![no_main]

use embedded_io_async::{Read, Write};
use holdline_esp_size::{Socket, Task, alarm, now_ms, run, size_of_future, the_world};

async fn client(_: ()) {
    loop {
        if let Ok(mut socket) = Socket::connect().await {
            let (mut reader, mut writer) = socket.halves();
            let mut buffer = [0; 64];
            while let Ok(count) = reader.read(&mut buffer).await {
                copy(&mut buffer, count);
                let _ = writer.write(&buffer).await;
            }
        }
        alarm(now_ms() + 1_000).await;
    }
}

fn copy(buffer: &mut [u8; 64], count: usize) {
    let (left, right) = the_world(&mut *buffer).split_at_mut(32);
    if let (Some(to), Some(from)) = (left.get_mut(..count), right.get(..count)) {
        to.copy_from_slice(from);
        the_world(to == from);
    }
    buffer.copy_within(..count, the_world(1));
    if let Some(part) = buffer.get_mut(..count) {
        part.fill(the_world(0));
    }
    the_world(&mut *buffer);
}

async fn application(_: ()) {
    loop {
        alarm(the_world(1_000)).await;
    }
}

static CLIENT: Task<{ size_of_future(&(client as fn(_) -> _)) }> = Task::new();
static APPLICATION: Task<{ size_of_future(&(application as fn(_) -> _)) }> = Task::new();

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    run(CLIENT.fill(client(())), APPLICATION.fill(application(())))
}
