//! What a host says to its relay, and makes of what it hears.

use crate::control::{FromRelay, Report, Settings, State, Tcp, Want, Wifi};
use crate::transport::{ConnectFailure, JoinFailed};
use crate::wire::{ControlLine, End};
use holdline_proto::Instant;

/// How often the time that a relay may take to start is doubled, while it does not.
const PATIENCE_MAX: u32 = 3;
/// How often something is said again that the relay has not followed yet, in milliseconds.
const AGAIN_MS: u32 = 200;
/// How often settings are said again that the relay does not have yet, in milliseconds: a slow wire takes a while for them.
const SETTINGS_AGAIN_MS: u32 = 500;
/// How often what the relay has followed is said, in milliseconds.
const STEADY_MS: u32 = 1_000;
/// How long a relay may speak and not do as it is told, in milliseconds: longer than a slow wire full of noise takes for a line.
const DEAF_MS: u32 = 10_000;
/// What never comes.
const NEVER: Instant = Instant::from_millis(u64::MAX);

/// How patient a host is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) silence_ms: u32,
    pub(crate) pulse_ms: u32,
    pub(crate) boot_ms: u32,
}

/// The connection that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    None,
    Opening,
    Open,
    /// It could not be opened, or it was open and has ended.
    Over(ConnectFailure),
}

/// Something that is said again after a while.
#[derive(Clone, Copy, Debug)]
struct Saying {
    is_due: bool,
    said_at: Instant,
}

impl Saying {
    const DUE: Self = Self { is_due: true, said_at: Instant::from_millis(0) };

    /// When it will be due; never while it is.
    fn due_at(self, every_ms: u32) -> Instant {
        if self.is_due { NEVER } else { self.said_at.plus(every_ms) }
    }

    fn say(&mut self, now: Instant) {
        *self = Self { is_due: false, said_at: now };
    }
}

/// The host's end of the wire.
#[derive(Debug)]
pub(crate) struct HostEnd<'s> {
    settings: Settings<'s>,
    digest: u32,
    pub(crate) timing: Timing,
    /// What the relay is to be. One that does not have our settings gets them first.
    want: Want,
    /// The numbers drawn last.
    drawn: Want,
    link: Link,
    settings_again: Saying,
    want_again: Saying,
    /// What was said last.
    said: Want,
    /// What the relay said last; `None` while it is silent.
    relay: Option<State>,
    heard_at: Instant,
    /// Since when it has shown anything else than what is wanted of it; never if it does not.
    unheeded_since: Instant,
    /// Whether a relay that is silent is to be reset: somebody waits for it.
    pub(crate) is_needed: bool,
    /// A silent relay is not reset before this: it boots.
    patient_until: Instant,
    /// How often in a row a reset was not followed by a word of the relay.
    unanswered: u32,
    /// Whether the relay is to be reset, silent or not.
    is_reboot_wanted: bool,
    /// Whether the relay is held in reset.
    is_in_reset: bool,
    boot: Option<u32>,
    pub(crate) boots: u32,
    pub(crate) pulses: u32,
    report: Option<Report>,
}

impl<'s> HostEnd<'s> {
    pub(crate) fn new(settings: Settings<'s>, timing: Timing) -> Self {
        Self {
            settings,
            digest: settings.digest(),
            timing,
            want: Want::default(),
            drawn: Want::default(),
            link: Link::None,
            settings_again: Saying::DUE,
            want_again: Saying::DUE,
            said: Want::default(),
            relay: None,
            heard_at: Instant::default(),
            unheeded_since: NEVER,
            is_needed: false,
            patient_until: Instant::default(),
            unanswered: 0,
            is_reboot_wanted: false,
            is_in_reset: false,
            boot: None,
            boots: 0,
            pulses: 0,
            report: None,
        }
    }

    /// Begins to listen to a relay of which nothing is known: it may be up, or have got its power just now.
    pub(crate) fn begin(&mut self, now: Instant, random: u64) {
        if self.drawn == Want::default() {
            self.drawn = Want { join: random as u32, link: (random >> 32) as u32 };
        }
        (self.want, self.link) = (Want::default(), Link::None);
        (self.relay, self.unheeded_since) = (None, NEVER);
        (self.settings_again, self.want_again) = (Saying::DUE, Saying::DUE);
        (self.is_needed, self.is_in_reset) = (false, false);
        self.patient_until = now.plus(self.timing.boot_ms);
    }

    // ---- the network ----

    /// Whether the relay is there and has our settings.
    pub(crate) fn is_ready(&self) -> bool {
        self.relay.is_some_and(|relay| relay.config == Some(self.digest))
    }

    /// Begins an attempt to join the network.
    pub(crate) fn join(&mut self) {
        self.drawn.join = after(self.drawn.join, self.relay.map(|relay| relay.join));
        self.want = Want { join: self.drawn.join, link: 0 };
    }

    /// How that attempt went; `None` while nobody knows.
    pub(crate) fn joined(&self) -> Option<Result<(), JoinFailed>> {
        let relay = self.relay.filter(|relay| self.is_ready() && relay.join == self.want.join)?;
        match relay.wifi {
            Wifi::Up => Some(Ok(())),
            Wifi::Failed => Some(Err(JoinFailed)),
            Wifi::Off | Wifi::Joining => None,
        }
    }

    /// Whether the network is joined still.
    pub(crate) fn is_up(&self) -> bool {
        self.want.join != 0 && self.joined() == Some(Ok(()))
    }

    pub(crate) fn leave(&mut self) {
        self.want = Want::default();
        self.link = Link::None;
    }

    /// Whether nothing is joined, or there is nobody to say so.
    pub(crate) fn has_left(&self) -> bool {
        self.relay.is_none_or(|relay| relay.join == 0)
    }

    /// Whether the relay was told to leave, if there is one.
    pub(crate) fn has_said_farewell(&self) -> bool {
        self.relay.is_none() || self.said == Want::default()
    }

    // ---- the connection ----

    /// Begins an attempt to connect.
    pub(crate) fn connect(&mut self) {
        self.drawn.link = after(self.drawn.link, self.relay.map(|relay| relay.link));
        self.want.link = self.drawn.link;
        self.link = if self.relay.is_some() { Link::Opening } else { Link::Over(ConnectFailure::Unreachable) };
    }

    /// How that attempt went; `None` while nobody knows.
    pub(crate) fn connected(&self) -> Option<Result<(), ConnectFailure>> {
        match self.link {
            Link::None | Link::Opening => None,
            Link::Open => Some(Ok(())),
            Link::Over(failure) => Some(Err(failure)),
        }
    }

    pub(crate) fn disconnect(&mut self) {
        self.want.link = 0;
        self.link = Link::None;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.link == Link::Open
    }

    /// The connection has ended, or will never open.
    fn lose_link(&mut self, failure: ConnectFailure) {
        if matches!(self.link, Link::Opening | Link::Open) {
            self.link = Link::Over(failure);
        }
    }

    // ---- the relay ----

    /// What the relay said last, while it is not silent.
    pub(crate) fn relay(&self) -> Option<State> {
        self.relay
    }

    pub(crate) fn take_report(&mut self) -> Option<Report> {
        self.report.take()
    }

    /// Asks for a reset, whatever the relay does.
    pub(crate) fn reboot(&mut self) {
        self.is_reboot_wanted = true;
        self.fall_silent();
    }

    /// When the relay is to be reset.
    pub(crate) fn reset_at(&self) -> Instant {
        match self.relay {
            _ if self.is_reboot_wanted => Instant::default(),
            None if self.is_needed => self.patient_until,
            _ => self.unheeded_since.plus(DEAF_MS),
        }
    }

    /// The relay is held in reset now, or is not any more.
    pub(crate) fn hold_in_reset(&mut self, holds: bool) {
        self.is_in_reset = holds;
        if holds {
            self.fall_silent();
        }
    }

    /// The relay has been reset, and boots.
    pub(crate) fn has_been_reset(&mut self, now: Instant) {
        self.pulses = self.pulses.saturating_add(1);
        self.is_reboot_wanted = false;
        // One that needs longer than it is thought to is not kept from starting for ever.
        self.patient_until = now.plus(self.timing.boot_ms.saturating_mul(1 << self.unanswered.min(PATIENCE_MAX)));
        self.unanswered = self.unanswered.saturating_add(1);
    }

    fn fall_silent(&mut self) {
        (self.relay, self.unheeded_since) = (None, NEVER);
        self.lose_link(ConnectFailure::Unreachable);
    }

    fn hear_state(&mut self, relay: State, now: Instant) {
        let is_new = self.boot != Some(relay.boot);
        if is_new {
            self.boot = Some(relay.boot);
            self.boots = self.boots.saturating_add(1);
            self.settings_again = Saying::DUE;
        }
        self.want_again.is_due |= self.relay.is_none();
        (self.unanswered, self.patient_until) = (0, now);
        self.relay = Some(relay);
        self.heard_at = now;
        let heeds = self.is_ready() && self.want == Want { join: relay.join, link: relay.link };
        self.unheeded_since = if heeds { NEVER } else { self.unheeded_since.min(now) };
        if is_new || !self.is_ready() {
            return self.lose_link(ConnectFailure::Unreachable);
        }
        match (self.link, relay.tcp) {
            (Link::Open, _) if relay.link != self.want.link => self.lose_link(ConnectFailure::Unreachable),
            (Link::Opening, _) if relay.link != self.want.link => {}
            (Link::Opening, Tcp::Open) => self.link = Link::Open,
            (Link::Open, Tcp::Open) | (Link::Opening, Tcp::None | Tcp::Opening) => {}
            // Somebody answered: the network is not to blame.
            (_, Tcp::Refused | Tcp::Closed) => self.lose_link(ConnectFailure::Refused),
            (_, Tcp::TimedOut) => self.lose_link(ConnectFailure::TimedOut),
            _ => self.lose_link(ConnectFailure::Unreachable),
        }
    }

    /// What the relay is told to be.
    fn said_want(&self) -> Want {
        if self.is_ready() { self.want } else { Want::default() }
    }

    fn want_every_ms(&self) -> u32 {
        let want = self.said_want();
        let follows = |relay: State| Want { join: relay.join, link: relay.link } == want;
        if self.relay.is_some_and(follows) { STEADY_MS } else { AGAIN_MS }
    }

    fn lacks_settings(&self) -> bool {
        self.relay.is_some() && !self.is_ready()
    }

    fn settings_at(&self) -> Instant {
        if self.lacks_settings() { self.settings_again.due_at(SETTINGS_AGAIN_MS) } else { NEVER }
    }

    fn want_at(&self) -> Instant {
        if self.relay.is_some() { self.want_again.due_at(self.want_every_ms()) } else { NEVER }
    }

    fn silent_at(&self) -> Instant {
        if self.relay.is_some() { self.heard_at.plus(self.timing.silence_ms) } else { NEVER }
    }
}

impl End for HostEnd<'_> {
    fn hear(&mut self, text: &str, now: Instant) {
        match FromRelay::parse(text) {
            // What comes from a relay in reset was said before it.
            _ if self.is_in_reset => {}
            Some(FromRelay::State(state)) => self.hear_state(state, now),
            Some(FromRelay::Report(report)) => self.report = Some(report),
            None => {}
        }
    }

    fn say(&mut self, now: Instant, line: &mut ControlLine<'_>) -> bool {
        // A relay that is up when the host starts stays in its network: nothing else is wanted of it before it is known.
        if self.relay.is_none() {
            return false;
        }
        if self.lacks_settings() && self.settings_again.is_due {
            self.settings_again.say(now);
            return self.settings.write(line).is_ok();
        }
        let want = self.said_want();
        if !self.want_again.is_due && want == self.said {
            return false;
        }
        self.want_again.say(now);
        self.said = want;
        want.write(line).is_ok()
    }

    fn deadline(&self) -> Instant {
        self.silent_at().min(self.want_at()).min(self.settings_at())
    }

    fn tick(&mut self, now: Instant) {
        if now >= self.silent_at() {
            self.fall_silent();
        }
        self.want_again.is_due |= now >= self.want_at();
        self.settings_again.is_due |= now >= self.settings_at();
    }

    fn is_listening(&self) -> bool {
        self.is_open()
    }
}

/// The next number; 0 stands for none. What the relay shows is passed over: a host that draws the same numbers at each start would take
/// its own network or connection of before for the new one.
fn after(number: u32, shown: Option<u32>) -> u32 {
    let next = |number: u32| number.wrapping_add(1).max(1);
    if shown == Some(next(number)) { next(next(number)) } else { next(number) }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::string::String;

    const SETTINGS: Settings<'_> = Settings { server: "server", port: 1, ssid: "attic", password: "", report_s: 0 };

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn hear(end: &mut HostEnd<'_>, state: State, now: Instant) {
        let mut text = String::new();
        state.write(&mut text).expect("there is room");
        end.hear(&text, now);
    }

    /// A host that wants a connection, and what a relay says that is opening it.
    fn opening() -> (HostEnd<'static>, State) {
        let mut end = HostEnd::new(SETTINGS, Timing { silence_ms: 4_000, pulse_ms: 200, boot_ms: 8_000 });
        end.begin(at(0), 7 << 32 | 3);
        let state = State { boot: 1, config: Some(SETTINGS.digest()), ..State::default() };
        hear(&mut end, state, at(10));
        assert!(end.is_ready());
        end.join();
        assert_eq!(end.joined(), None);
        let state = State { join: 4, wifi: Wifi::Up, ..state };
        hear(&mut end, state, at(20));
        assert!(end.is_up());
        end.connect();
        let state = State { link: 8, tcp: Tcp::Opening, ..state };
        hear(&mut end, state, at(30));
        assert_eq!((end.connected(), end.is_listening()), (None, false));
        (end, state)
    }

    #[test]
    fn a_connection_lasts_while_the_relay_says_that_it_has_this_one_open() {
        let config = SETTINGS.digest();
        let ends: [fn(&mut State); 6] = [
            |state| state.boot += 1,
            |state| state.config = None,
            |state| state.config = state.config.map(|config| config ^ 1),
            |state| state.link += 1,
            |state| state.link = 0,
            |state| state.tcp = Tcp::Closed,
        ];
        for change in ends {
            let (mut end, state) = opening();
            let open = State { tcp: Tcp::Open, ..state };
            for ms in [40, 1_000, 4_999] {
                hear(&mut end, open, at(ms));
                assert_eq!((end.connected(), end.is_listening(), open.config), (Some(Ok(())), true, Some(config)));
            }
            let mut changed = open;
            change(&mut changed);
            hear(&mut end, changed, at(5_000));
            assert!(matches!(end.connected(), Some(Err(_))) && !end.is_listening(), "{changed:?}");
            // It never opens again.
            hear(&mut end, open, at(5_001));
            assert!(!end.is_listening(), "{changed:?}");
        }
    }

    #[test]
    fn a_relay_that_has_other_settings_gets_these_before_anything_is_wanted_of_it() {
        let (mut end, state) = opening();
        for config in [None, Some(1)] {
            hear(&mut end, State { boot: state.boot + 1, config, ..state }, at(40));
            let mut said = std::vec::Vec::new();
            let mut buffer = [0; 300];
            loop {
                let mut line = ControlLine::new(&mut buffer);
                if !end.say(at(40), &mut line) {
                    break;
                }
                let len = line.end();
                said.push(String::from_utf8_lossy(&buffer[1..len - 10]).into_owned());
            }
            let mut settings = String::new();
            SETTINGS.write(&mut settings).expect("there is room");
            assert_eq!((said.first(), said.last().map(String::as_str)), (Some(&settings), Some("want\tjoin=0\tlink=0")));
            end = opening().0;
        }
    }

    #[test]
    fn why_a_connection_did_not_open_is_what_the_relay_says_of_this_one() {
        for (tcp, failure) in [
            (Tcp::Refused, Some(ConnectFailure::Refused)),
            (Tcp::Closed, Some(ConnectFailure::Refused)),
            (Tcp::TimedOut, Some(ConnectFailure::TimedOut)),
            (Tcp::Unreachable, Some(ConnectFailure::Unreachable)),
            (Tcp::None, None),
        ] {
            let (mut end, state) = opening();
            hear(&mut end, State { link: 7, tcp, ..state }, at(40));
            assert_eq!(end.connected(), None, "that was of another connection");
            hear(&mut end, State { tcp, ..state }, at(50));
            assert_eq!(end.connected(), failure.map(Err), "{tcp:?}");
        }
    }

    #[test]
    fn a_relay_in_reset_is_not_listened_to() {
        let (mut end, state) = opening();
        end.reboot();
        assert_eq!((end.reset_at(), end.connected()), (at(0), Some(Err(ConnectFailure::Unreachable))));
        end.hold_in_reset(true);
        hear(&mut end, State { tcp: Tcp::Open, ..state }, at(40));
        assert_eq!(end.relay(), None);
        end.hold_in_reset(false);
        end.has_been_reset(at(240));
        end.is_needed = true;
        assert_eq!(end.reset_at(), at(8_240));
        hear(&mut end, State { boot: 2, ..State::default() }, at(1_000));
        assert_eq!((end.reset_at(), end.boots, end.pulses), (at(11_000), 2, 1), "unless it takes what is wanted of it");
        hear(&mut end, State { boot: 2, join: 3, ..state }, at(10_999));
        assert_eq!(end.reset_at(), at(11_000));
        hear(&mut end, State { boot: 2, ..state }, at(10_999));
        assert_eq!(end.reset_at(), NEVER);
    }

    #[test]
    fn what_the_relay_does_not_follow_is_said_again_and_the_next_deadline_is_later_than_now() {
        let mut end = HostEnd::new(SETTINGS, Timing { silence_ms: 4_000, pulse_ms: 200, boot_ms: 8_000 });
        end.begin(at(0), u64::MAX);
        let mut said = std::vec::Vec::new();
        let mut now = 0;
        while now < 6_000 {
            if now == 2_000 {
                hear(&mut end, State { boot: 1, ..State::default() }, at(now));
            }
            if now == 3_000 {
                hear(&mut end, State { boot: 1, config: Some(SETTINGS.digest()), ..State::default() }, at(now));
                // The last number of all comes before the first: 0 is none.
                end.join();
            }
            if end.deadline() <= at(now) {
                end.tick(at(now));
                assert!(end.deadline() > at(now), "at {now} ms");
            }
            let mut buffer = [0; 300];
            loop {
                let mut line = ControlLine::new(&mut buffer);
                if !end.say(at(now), &mut line) {
                    break;
                }
                let len = line.end();
                said.push((now, String::from_utf8_lossy(&buffer[1..len]).into_owned()));
            }
            now += 100;
        }
        let times = |what: &str| -> std::vec::Vec<u64> {
            said.iter().filter(|(_, text)| text.starts_with(what)).map(|&(at, _)| at).collect()
        };
        assert_eq!(times("config\t"), [2_000, 2_500]);
        assert_eq!(times("want\tjoin=0\t"), [2_000], "nothing before it has been heard");
        let joins = times("want\tjoin=1\t");
        assert_eq!(joins, (0..).map(|again| 3_000 + 200 * again).take_while(|&at| at < 6_000).collect::<std::vec::Vec<_>>());
    }
}
