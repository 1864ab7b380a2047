//! What outages happen to.

use super::{Remembers, Stop};
use crate::stream::Fate;
use crate::world::Access;

/// Whom an outage concerns: a device, by its place among the devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target(pub usize);

/// What outages happen to: devices and their server, each with its network.
///
/// [`crate::fleet::Fleet`] is one, with the sessions alone. A test of a whole program brings its own over
/// a [`crate::net::Net`].
pub trait Site {
    /// How many devices there are.
    fn devices(&self) -> usize;

    /// How a device's network behaves while nothing is wrong.
    fn usual(&self) -> Access;

    /// The `number`th outage of a story begins or ends for a device, or for the server; for those who look at the run.
    fn note(&mut self, number: u32, target: Option<Target>, begins: bool) {
        let _ = (number, target, begins);
    }

    /// Changes how a device's network behaves.
    fn change(&mut self, target: Target, change: impl FnOnce(&mut Access));

    /// Breaks every stream of a device.
    fn break_streams(&mut self, target: Target, fate: Fate);

    /// Takes the network of a device away, as its driver would tell it, or gives it back.
    fn set_network(&mut self, target: Target, up: bool);

    /// Stops a device where it is, or lets it go on.
    fn suspend(&mut self, target: Target, suspended: bool);

    /// Lets a device's clock jump ahead.
    fn jump_clock(&mut self, target: Target, ms: u32);

    /// Lets a device's clock run fast or slow from now on, by so many parts in a million.
    fn drift_clock(&mut self, target: Target, ppm: i32);

    /// A random number.
    fn draw(&mut self) -> u64;

    /// Blocks a device's network at these times, from … to, in milliseconds from now.
    fn stall(&mut self, target: Target, stalls: Vec<(u32, u32)>);

    /// Gives a device's network back after so many milliseconds.
    fn give_network_back(&mut self, target: Target, after_ms: u32);

    /// Takes a device's power; `fate` is what the other ends of its streams see.
    fn power_off(&mut self, target: Target, fate: Fate);

    /// Gives it power again.
    fn power_on(&mut self, target: Target, memory: Remembers);

    /// Copies what every endpoint has committed, for those that come back with an old copy later.
    fn back_up(&mut self);

    /// Stops the server.
    fn stop_server(&mut self, how: Stop);

    /// Starts it again.
    fn start_server(&mut self, memory: Remembers);

    /// Switches a second device with the same client id on or off.
    fn switch_clone(&mut self, target: Target, on: bool);
}
