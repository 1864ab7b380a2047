//! Every outage by name, with its parameters.

mod site;
mod stalls;

pub use site::{Site, Target};
pub use stalls::Shape;

use crate::stream::Fate;
use crate::world::{Access, Connecting};
use serde::{Deserialize, Serialize};
use stalls::stalls;

/// What goes wrong. Each lasts from its `at_ms` for `for_ms`, and is undone then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outage {
    /// Nothing gets through, and nobody is told: sockets stay open. Then the same streams go on, or not.
    BlackHole {
        /// Which way nothing gets through.
        #[serde(default)]
        way: Way,
        /// What becomes of the streams afterwards.
        #[serde(default)]
        then: Then,
    },
    /// Every stream ends at once, with an error or in order.
    Cut {
        /// How it looks.
        #[serde(default)]
        with: End,
    },
    /// The access point restarts: there is no way anywhere, streams are dead without a word, and everybody returns at one moment.
    ApReboot {
        /// Each device gets its address after up to this long, in milliseconds, and has no network before.
        #[serde(default)]
        dhcp_ms: u32,
    },
    /// The device moves to another access point: its address changes, so old streams are dead and new ones work after the gap.
    Roam,
    /// The device loses power, and starts again when it is over.
    PowerCycle {
        /// What it remembers then.
        #[serde(default)]
        memory: Remembers,
        /// Whether its old streams end with an error at the server (it came back at once with the same address), or half-open.
        #[serde(default)]
        reset: bool,
    },
    /// The server stops, and starts again when it is over.
    ServerStop {
        /// How it stops.
        #[serde(default)]
        how: Stop,
        /// What it remembers then.
        #[serde(default)]
        memory: Remembers,
    },
    /// Streams that carry nothing for this long are forgotten on the way.
    NatIdle {
        /// How long, in milliseconds.
        idle_ms: u32,
    },
    /// Every byte is late.
    Bufferbloat {
        /// One-way delay, in milliseconds.
        latency_ms: u32,
        /// Up to this much more.
        #[serde(default)]
        jitter_ms: u32,
    },
    /// Losses in bursts: TCP repairs them, so what is seen is stalls of random length, one after the other.
    BurstLoss {
        /// The longest stall, in milliseconds.
        longest_ms: u32,
        /// The mean time between stalls, in milliseconds.
        every_ms: u32,
        /// How long they are.
        #[serde(default)]
        shape: Shape,
    },
    /// The device does not read: its receive window fills.
    ZeroWindow {
        /// Bytes that the server can write before it has to wait.
        buffer: u32,
    },
    /// Segments of this size only.
    Segments {
        /// Bytes, at least 1.
        size: u32,
    },
    /// A slow line.
    Slow {
        /// Bytes in a millisecond, at least 1.
        rate: u32,
    },
    /// A serial line: bits are flipped and bytes never arrive, each way. With `check` in the story's fleet, lines that were damaged are found
    /// out and sent again; without, and on the classic wires, nobody notices.
    Noise {
        /// Of a million bytes so many have one bit flipped.
        #[serde(default)]
        flip_per_million: u32,
        /// Of a million bytes so many never arrive; a million at most with those that are flipped.
        #[serde(default)]
        drop_per_million: u32,
    },
    /// The device is stopped and goes on where it was.
    Suspend,
    /// The device's clock jumps ahead by `for_ms` at once.
    ClockJump,
    /// The device's clock runs fast or slow.
    ClockDrift {
        /// By so many parts in a million, at most 100,000.
        ppm: u32,
        /// Slow, else fast.
        #[serde(default)]
        slow: bool,
    },
    /// The device counts milliseconds in 32 bits, and at this moment its counter begins again at 0: the device was started 49 days and 17
    /// hours ago. A story has one such moment, for one device or for all.
    ClockWrap,
    /// A second device with the same client id is switched on for a while.
    Clone,
    /// Connection attempts do not work; streams that are open stay.
    NoConnect {
        /// How they fail.
        how: ConnectFails,
    },
}

/// Which way nothing gets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Neither.
    #[default]
    Both,
    /// From the device.
    Up,
    /// To the device.
    Down,
}

/// What becomes of streams after a black hole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// They go on.
    #[default]
    Resume,
    /// They end in order.
    Fin,
    /// They end with an error.
    Rst,
    /// They are dead, and nobody is told.
    Never,
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// With an error.
    #[default]
    Rst,
    /// In order.
    Fin,
}

/// What an endpoint remembers after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remembers {
    /// Nothing.
    #[default]
    Nothing,
    /// Everything that it had committed; native only, a classic endpoint keeps nothing.
    Everything,
    /// What it had committed when the run was half as old.
    OldCopy,
    /// The power went while one more message was committed, at a random byte of the record, over the older of two records: it comes back
    /// with that message or without it, and with everything before it.
    Torn,
    /// The same where there is room for one record alone: a torn one is found out by its checksum, and then nothing is left.
    TornInPlace,
}

impl Remembers {
    /// Where the power goes while a record is written: how many records there is room for.
    pub(crate) const fn torn_slots(self) -> Option<usize> {
        match self {
            Self::Nothing | Self::Everything | Self::OldCopy => None,
            Self::Torn => Some(2),
            Self::TornInPlace => Some(1),
        }
    }
}

/// How a server stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// It says goodbye.
    Graceful,
    /// The process is killed; its system closes the streams.
    #[default]
    Killed,
    /// The machine is gone; nobody is told.
    HostLost,
}

/// How connection attempts fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectFails {
    /// Nobody listens.
    Refused,
    /// Nobody answers.
    Silent,
    /// Somebody accepts, and closes at once.
    AcceptedThenClosed,
}

impl Outage {
    /// Its name in a scenario.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BlackHole { .. } => "black-hole",
            Self::Cut { .. } => "cut",
            Self::ApReboot { .. } => "ap-reboot",
            Self::Roam => "roam",
            Self::PowerCycle { .. } => "power-cycle",
            Self::ServerStop { .. } => "server-stop",
            Self::NatIdle { .. } => "nat-idle",
            Self::Bufferbloat { .. } => "bufferbloat",
            Self::BurstLoss { .. } => "burst-loss",
            Self::ZeroWindow { .. } => "zero-window",
            Self::Segments { .. } => "segments",
            Self::Slow { .. } => "slow",
            Self::Noise { .. } => "noise",
            Self::Suspend => "suspend",
            Self::ClockJump => "clock-jump",
            Self::ClockDrift { .. } => "clock-drift",
            Self::ClockWrap => "clock-wrap",
            Self::Clone => "clone",
            Self::NoConnect { .. } => "no-connect",
        }
    }

    /// Whether it concerns the server and not single devices.
    pub const fn is_servers(&self) -> bool {
        matches!(self, Self::ServerStop { .. })
    }

    /// Lets it begin for a device; `for_ms` is how long it will last.
    pub fn begin(&self, site: &mut impl Site, target: Target, for_ms: u32) {
        match *self {
            Self::BlackHole { way, .. } => site.change(target, |access| {
                access.out_blocked |= way != Way::Down;
                access.in_blocked |= way != Way::Up;
            }),
            Self::Cut { with: End::Rst } => site.break_streams(target, Fate::Rst),
            Self::Cut { with: End::Fin } => site.break_streams(target, Fate::Fin),
            Self::ApReboot { .. } | Self::Roam => {
                site.break_streams(target, Fate::Silent);
                site.change(target, |access| {
                    (access.out_blocked, access.in_blocked) = (true, true);
                    access.connecting = Connecting::Unreachable;
                });
                site.set_network(target, false);
            }
            Self::PowerCycle { reset, .. } => site.power_off(target, if reset { Fate::Rst } else { Fate::Silent }),
            Self::ServerStop { how, .. } => site.stop_server(how),
            Self::NatIdle { idle_ms } => site.change(target, |access| access.nat_idle_ms = idle_ms),
            Self::Bufferbloat { latency_ms, jitter_ms } => {
                site.change(target, |access| (access.latency_ms, access.jitter_ms) = (latency_ms, jitter_ms));
            }
            Self::BurstLoss { longest_ms, every_ms, shape } => {
                let stalls = stalls(&mut || site.draw(), for_ms, longest_ms, every_ms, shape);
                site.stall(target, stalls);
            }
            Self::ZeroWindow { buffer } => site.change(target, |access| {
                access.in_blocked = true;
                access.window = buffer as usize;
            }),
            Self::Segments { size } => site.change(target, |access| access.segment = size.max(1) as usize),
            Self::Slow { rate } => site.change(target, |access| access.rate = rate.max(1)),
            Self::Noise { flip_per_million, drop_per_million } => site.change(target, |access| {
                (access.flip_per_million, access.drop_per_million) = (flip_per_million, drop_per_million);
            }),
            Self::Suspend => site.suspend(target, true),
            Self::ClockJump => site.jump_clock(target, for_ms),
            Self::ClockDrift { ppm, slow } => {
                let ppm = ppm.min(100_000) as i32;
                site.drift_clock(target, if slow { -ppm } else { ppm });
            }
            // Its clock was started so that it wraps now.
            Self::ClockWrap => {}
            Self::Clone => site.switch_clone(target, true),
            Self::NoConnect { how } => site.change(target, |access| {
                access.connecting = match how {
                    ConnectFails::Refused => Connecting::Refused,
                    ConnectFails::Silent => Connecting::Silent,
                    ConnectFails::AcceptedThenClosed => Connecting::AcceptedThenClosed,
                };
            }),
        }
    }

    /// Undoes it.
    pub fn end(&self, site: &mut impl Site, target: Target) {
        let usual = site.usual();
        match *self {
            Self::BlackHole { then, .. } => {
                match then {
                    Then::Resume => {}
                    Then::Fin => site.break_streams(target, Fate::Fin),
                    Then::Rst => site.break_streams(target, Fate::Rst),
                    Then::Never => site.break_streams(target, Fate::Silent),
                }
                site.change(target, |access| reopen(access, usual));
            }
            Self::Cut { .. } | Self::ClockJump | Self::ClockWrap | Self::BurstLoss { .. } => {}
            Self::ClockDrift { .. } => site.drift_clock(target, 0),
            Self::ApReboot { dhcp_ms: dhcp_ms @ 1.. } => {
                let after_ms = (site.draw() % u64::from(dhcp_ms)) as u32;
                site.give_network_back(target, after_ms);
            }
            Self::ApReboot { dhcp_ms: 0 } | Self::Roam => site.give_network_back(target, 0),
            Self::NoConnect { .. } => site.change(target, |access| reopen(access, usual)),
            Self::PowerCycle { memory, .. } => site.power_on(target, memory),
            Self::ServerStop { memory, .. } => site.start_server(memory),
            Self::NatIdle { .. } => site.change(target, |access| access.nat_idle_ms = usual.nat_idle_ms),
            Self::Bufferbloat { .. } => {
                site.change(target, |access| (access.latency_ms, access.jitter_ms) = (usual.latency_ms, usual.jitter_ms));
            }
            Self::ZeroWindow { .. } => site.change(target, |access| {
                access.in_blocked = false;
                access.window = usual.window;
            }),
            Self::Segments { .. } => site.change(target, |access| access.segment = usual.segment),
            Self::Slow { .. } => site.change(target, |access| access.rate = usual.rate),
            Self::Noise { .. } => site.change(target, |access| {
                (access.flip_per_million, access.drop_per_million) = (usual.flip_per_million, usual.drop_per_million);
            }),
            Self::Suspend => site.suspend(target, false),
            Self::Clone => site.switch_clone(target, false),
        }
    }
}

/// The network of a device is as usual again, after it was gone.
pub fn reopen(access: &mut Access, usual: Access) {
    (access.out_blocked, access.in_blocked) = (false, false);
    access.connecting = usual.connecting;
}
