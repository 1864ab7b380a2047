//! A client that keeps one reliable line in both directions: it connects again and replays after any outage. It is ready to receive
//! lines of 512 bytes, and sends texts of 64.
#![no_std]
#![no_main]

use holdline_esp::{
    AlwaysUp, Board, Buffers, Channel, Client, Clock, Config, ConnectFailure, Connector, Handle, Instant, Stream,
};
use holdline_esp_size::{Half, Place, Socket, Task, alarm, now_ms, run, size_of_future, the_world};

struct Chip;

impl Clock for Chip {
    fn now(&self) -> Instant {
        Instant::from_millis(now_ms())
    }

    async fn wait_until(&self, at: Instant) {
        alarm(at.as_millis()).await;
    }
}

struct Stack;
struct Tcp(Socket);

impl Connector for Stack {
    type Stream<'s> = Tcp;

    async fn connect(&mut self) -> Result<Tcp, ConnectFailure> {
        Socket::connect().await.map(Tcp).map_err(|()| ConnectFailure::Refused)
    }
}

impl Stream for Tcp {
    type Reader<'h> = Half;
    type Writer<'h> = Half;

    fn split(&mut self) -> (Half, Half) {
        self.0.halves()
    }
}

type Draw = fn() -> u64;

async fn client((mut client, mut board): (Client<'static, 'static>, Board<AlwaysUp, Stack, Chip, Draw, ()>)) {
    the_world(client.run(&mut board).await);
}

/// It answers what it is told, in the buffer it was told it in.
async fn application(line: Handle<'static, 'static>) {
    let mut buffer = [0; 64];
    while let Ok(text) = line.readline(&mut buffer).await {
        if line.write(the_world(text)).await.is_err() {
            return;
        }
    }
}

// Of an inbox for a line of 512 bytes the line takes 513, and what is known of a message 23; what frames a text of 64 bytes takes
// 31 of the transmit buffer.
const OUTBOX: usize = 1024;

/// All of the memory but the outbox.
#[unsafe(no_mangle)]
static HOLDLINE_CHANNEL: Place<Channel<'static>> = Place::new();
#[unsafe(no_mangle)]
static HOLDLINE_BUFFERS: Place<Buffers<536, OUTBOX, 96, 2>> = Place::new();
#[unsafe(no_mangle)]
static HOLDLINE_CLIENT: Task<{ size_of_future(&(client as fn(_) -> _)) }> = Task::new();
#[unsafe(no_mangle)]
static APPLICATION: Task<{ size_of_future(&(application as fn(_) -> _)) }> = Task::new();

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let draw: Draw = now_ms;
    let buffers = HOLDLINE_BUFFERS.fill(Buffers::new());
    // The configuration is not known to the compiler either: what one device would leave out, another needs.
    let config = the_world(Config::new().max_line(512).window(4));
    let Ok(channel) = Channel::new(the_world("device"), config, buffers, draw) else { loop {} };
    let (line, handle) = HOLDLINE_CHANNEL.fill(channel).split();
    let board = Board { network: AlwaysUp, connector: Stack, clock: Chip, random: draw, hooks: () };
    run(HOLDLINE_CLIENT.fill(client((line, board))), APPLICATION.fill(application(handle)))
}
