//! A board in virtual time: an executor that is polled by hand, a clock that jumps to the next deadline, a wire that splits and stalls
//! as it is told, and a server that is a session of the protocol crate.
#![allow(dead_code, unused_imports, unreachable_pub, missing_debug_implementations, reason = "each test uses a part of it")]

mod far_end;
mod time;
mod wire;

pub use far_end::{ClassicPeer, FarEnd, Peer};
use holdline_esp::Hooks;
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;
pub use time::{Tasks, Time, for_polls, yield_once};
pub use wire::{Pace, Radio};

#[derive(Clone, Default)]
pub struct Diary(pub Rc<DiaryPages>);

#[derive(Default)]
pub struct DiaryPages {
    pub connections: RefCell<Vec<bool>>,
    pub beats: Cell<u32>,
    pub bad_wifi: Cell<u32>,
    pub bad_server: Cell<u32>,
    pub gives_up: Cell<bool>,
    pub fed_at: Cell<u64>,
    pub longest_hunger: Cell<u64>,
    pub time: RefCell<Time>,
}

impl Hooks for Diary {
    const FEED_MS: u32 = 700;

    fn connection(&mut self, up: bool) {
        self.0.connections.borrow_mut().push(up);
    }

    fn heartbeat(&mut self) {
        self.0.beats.set(self.0.beats.get() + 1);
    }

    fn feed(&mut self) {
        let now = self.0.time.borrow().ms();
        self.0.longest_hunger.set(self.0.longest_hunger.get().max(now - self.0.fed_at.replace(now)));
    }

    fn bad_wifi(&mut self) -> ControlFlow<()> {
        self.0.bad_wifi.set(self.0.bad_wifi.get() + 1);
        if self.0.gives_up.get() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn bad_server(&mut self) -> ControlFlow<()> {
        self.0.bad_server.set(self.0.bad_server.get() + 1);
        if self.0.gives_up.get() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

pub fn random() -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

pub fn numbered(count: u32) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}
