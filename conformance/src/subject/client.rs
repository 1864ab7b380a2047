//! The subject as a client: one session, and a supervisor that decides when to connect.

use super::record::{Record, load, save};
use super::seat::Seat;
use super::{Answer, Hands, Io, Random, Refused, Settings, Store, unknown};
use holdline_proto::{
    Action, ByeCode, Client as Role, ClientId, ConnectFailure, DownReason, Incarnation, Instant, Outbox, Session, Supervisor,
    SupervisorConfig,
};
use serde_json::{Value as Json, json};
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Client {
    settings: Settings,
    seat: Seat<Role>,
    supervisor: Supervisor,
    is_closed: bool,
}

impl Client {
    pub(super) fn start(
        settings: Settings,
        random: &mut Random,
        store: &dyn Store,
        output: &mut VecDeque<Io>,
    ) -> Result<Self, Refused> {
        let id = ClientId::new(&settings.client).map_err(|error| Refused("failed", error.to_string()))?;
        let record = if settings.keeps_store { load(store).remove(&settings.client) } else { None }.unwrap_or_default();
        let incarnation = Incarnation { boot: random.next(), epoch: random.next() };
        let seat = Seat::new(Role { id }, &settings, settings.flavour, incarnation, &record);
        let supervisor = SupervisorConfig {
            timeout_ms: settings.config.get().timeout_ms,
            has_network: false,
            classic: settings.flavour.is_some(),
        };
        let supervisor = Supervisor::new(supervisor, random.next());
        let mut client = Self { settings, seat, supervisor, is_closed: false };
        client.act(output);
        Ok(client)
    }

    fn act(&mut self, output: &mut VecDeque<Io>) {
        if !self.is_closed
            && let Some(Action::Connect { timeout_ms }) = self.supervisor.poll_action()
        {
            output.push_back(Io::Connect { timeout_ms });
        }
    }

    pub(super) fn connected(&mut self, now: Instant, result: Result<u64, ConnectFailure>, fresh: u64, hands: &mut Hands<'_>) {
        match result {
            Ok(stream) if self.is_closed => hands.output.push_back(Io::Close { stream }),
            Ok(stream) => {
                self.supervisor.handle_connected();
                self.seat.begin(stream);
                self.seat.session.handle_connected(now, fresh);
            }
            Err(failure) => self.supervisor.handle_connect_failed(now, failure),
        }
        self.settle(now, hands);
    }

    pub(super) fn received(&mut self, now: Instant, stream: u64, bytes: &[u8], hands: &mut Hands<'_>) {
        if self.seat.stream == Some(stream) {
            self.seat.receive(now, bytes);
            self.settle(now, hands);
        }
    }

    pub(super) fn ended(&mut self, now: Instant, stream: u64, hands: &mut Hands<'_>) {
        if self.seat.stream == Some(stream) {
            self.seat.session.handle_disconnected(now);
            self.settle(now, hands);
        }
    }

    pub(super) fn transmitted(&mut self, now: Instant, stream: u64, bytes: usize, hands: &mut Hands<'_>) {
        if self.seat.stream == Some(stream) {
            self.seat.transmitted(now, bytes);
            self.settle(now, hands);
        }
    }

    pub(super) fn timeout(&mut self, now: Instant, hands: &mut Hands<'_>) {
        self.supervisor.handle_timeout(now);
        self.seat.session.handle_timeout(now);
        self.settle(now, hands);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let supervisor = self.supervisor.poll_timeout().filter(|_| !self.is_closed);
        [supervisor, self.seat.session.poll_timeout().map(|deadline| deadline.at)].into_iter().flatten().min()
    }

    /// What follows from an input: what is said, what is kept, what the supervisor is told.
    fn settle(&mut self, now: Instant, hands: &mut Hands<'_>) {
        self.seat.listen();
        let mut said = VecDeque::new();
        self.seat.output(&mut said);
        // HL-0079: what is kept is kept before anything leaves.
        if self.settings.keeps_store
            && let Some(record) = self.seat.record()
        {
            save(hands.store, &[(self.settings.client.clone(), record)].into());
        }
        hands.output.append(&mut said);
        if std::mem::take(&mut self.seat.came_up) {
            self.supervisor.handle_up(now);
        }
        if let Some(reason) = self.seat.down.take() {
            self.supervisor.handle_down(now, reason);
            if reason == DownReason::NotHoldline
                && let Some(flavour) = self.settings.fallback.take()
            {
                self.fall_back(flavour);
            }
        }
        self.act(hands.output);
    }

    // HL-0015
    fn fall_back(&mut self, flavour: holdline_proto::classic::Flavour) {
        let Session::Native(old) = &self.seat.session else { return };
        let texts: Vec<String> = (0..old.outbox().len())
            .filter_map(|index| old.outbox().get(index).map(|text| String::from_utf8_lossy(text).into_owned()))
            .collect();
        let Ok(id) = ClientId::new(&self.settings.client) else { return };
        let nothing = Incarnation { boot: 0, epoch: 0 };
        let state = self.seat.state();
        self.seat = Seat::new(Role { id }, &self.settings, Some(flavour), nothing, &Record::default());
        for event in state["events"].as_array().into_iter().flatten() {
            self.seat.tell(event.clone());
        }
        for text in texts {
            // The outbox is as large as the one they come from.
            let _ = self.seat.session.send(Instant::from_millis(0), &text);
        }
        self.supervisor.set_classic();
    }

    pub(super) fn answer(&mut self, now: Instant, request: &Json, hands: &mut Hands<'_>) -> Answer {
        let answer = match request.get("do").and_then(Json::as_str).unwrap_or_default() {
            "send" => self.seat.send(now, request, hands.output)?,
            "recv" => self.seat.hand_over(now),
            "state" => self.seat.state(),
            "close" => {
                self.is_closed = true;
                self.seat.close(ByeCode::Done, 0);
                json!({})
            }
            other => return Err(unknown(other)),
        };
        self.settle(now, hands);
        Ok(answer)
    }
}
