//! Exhaustive check of the guarantee, over the real sessions.
//!
//! Two [`holdline_proto::native::Session`]s are driven by their public inputs only, through every order of events within the
//! bounds of a *family*: an application sends, one line arrives, an application takes the oldest message that waits, output is
//! flushed, the client connects, the link breaks (what was read before is the prefix that got through; the server notices at once or
//! only when the client is back), a backup of a store is made, a program crashes and restarts with nothing, with its store, or with
//! the backup. On a serial stream nothing breaks, but any line can be lost, and time passes from deadline to deadline. An observer
//! ([`flow`]) compares what each application sent, took and was told with the guarantee of SPEC.md, section 12.
//!
//! # What is explored
//!
//! With optimisation (or `HOLDLINE_MODEL=full`), always at window 2; where links break, each side crashes once:
//!
//! - 3 messages in either direction, 2 breaks, output flushed at any time, for each of the nine pairs of volatile, durable and
//!   rolled-back ends; and the same with policy `skip`;
//! - 3 messages both ways at once, 2 breaks, for the four pairs without a rollback; 2 messages both ways for the other five. The two
//!   directions of a session meet only in the greeting: these families are there for what they do to each other;
//! - a serial stream that loses 2 lines: 3 messages in either direction, where once time passes while lines are on their way, and
//!   2 messages both ways; and one that loses 1 line of 2 messages while both ends crash, for the three pairs of like ends.
//!
//! A rolled-back end restores its backup, which may be no older than its store: these families contain the durable ones. Without
//! optimisation the bounds are smaller, so that `cargo test` stays quick. `HOLDLINE_MODEL=deep` explores 3 messages both ways for a
//! rolled-back and a durable end; it takes 6 GB.
//!
//! That the properties can fail is shown by mistakes outside of the sessions, in the tests that are named after them.
//!
//! # What makes it finite, and why that loses nothing
//!
//! - A crash ends its link at the same moment. What a peer does with bytes that it reads after the crash, it could have done
//!   just before it: the crashed end takes part in neither.
//! - While a link is dead and the server has not noticed, it does not write: nobody would read it, and it could have written it
//!   just before the break.
//! - A store is committed as part of each input, before the next byte leaves. An adapter that commits later has a store of the
//!   past after a crash, and the guarantee of a rolled-back end.
//! - A random number that neither becomes an epoch nor names a link leaves no trace, so it is offered until it is used.
//! - Time stands still where links break: no timer takes part in what is checked there. On a serial stream it moves to the next
//!   deadline; states that differ only by when they happen are one state ([`rebased`]).
//! - Except in the first families of the list output is written at once. What is written later is the same, but for
//!   acknowledgements that a later one contains.
#![allow(unreachable_pub, reason = "the modules are those of one program")]

#[path = "model/end.rs"]
mod end;
#[path = "model/family.rs"]
mod family;
#[path = "model/flow.rs"]
mod flow;
#[path = "model/rebased.rs"]
mod rebased;
#[path = "model/texts.rs"]
mod texts;
#[path = "model/world.rs"]
mod world;

use end::Seen;
use family::{Class, Defect, Family};
use flow::Broken;
use stateright::report::{ReportData, ReportDiscovery, Reporter};
use stateright::{Checker, HasDiscoveries, Model};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use world::{Action, HEALS, Line, NO_STANDSTILL, World};

#[test]
fn every_family_keeps_the_guarantee() {
    let usual = if cfg!(debug_assertions) { "small" } else { "full" };
    let bounds = std::env::var("HOLDLINE_MODEL").unwrap_or_else(|_| usual.to_owned());
    let families = match bounds.as_str() {
        "small" => family::small(),
        "full" => family::full(),
        "deep" => family::deep(),
        other => panic!("HOLDLINE_MODEL is small, full or deep, not {other:?}"),
    };
    let seen = Arc::new(Seen::default());
    println!("model check, {bounds} bounds, {} families; in each of them:", families.len());
    for property in (Line { family: families[0], seen: Arc::clone(&seen) }).properties() {
        println!("  always: {}", property.name);
    }
    let broken: Vec<_> = families.into_iter().filter(|&family| !explore(family, &seen, Search::All).is_empty()).collect();
    println!("met on the way: {seen:?}");
    assert!(broken.is_empty(), "the guarantee is broken in {broken:#?}");
    let never = if bounds == "full" { seen.never() } else { Vec::new() };
    assert_eq!(never, [""; 0], "what never happens cannot be checked");
}

#[test]
fn an_ack_on_receipt_is_found() {
    let family = Family::links(Class::Durable, Class::Durable, (1, 0), 0);
    finds(family.with_defect(Defect::AckOnReceipt), Broken::AckedUnaccepted.name());
}

#[test]
fn a_reused_epoch_is_found() {
    // No message is lost by it alone: the receiver's numbers give it away, and the sender takes itself for rolled back.
    let family = Family::links(Class::Volatile, Class::Volatile, (1, 0), 0);
    finds(family.with_defect(Defect::ReusedEpoch), Broken::FalseAlarm.name());
}

#[test]
fn a_cursor_committed_apart_from_its_message_is_found() {
    let family = Family::links(Class::Durable, Class::Durable, (1, 0), 0);
    finds(family.with_defect(Defect::CursorApart), Broken::Twice.name());
}

#[test]
fn a_needless_epoch_is_found() {
    let family = Family::links(Class::Durable, Class::Durable, (1, 0), 0);
    finds(family.with_defect(Defect::NeedlessEpoch), Broken::FalseAlarm.name());
}

#[test]
fn bytes_of_an_earlier_link_are_found() {
    let family = Family::links(Class::Volatile, Class::Volatile, (1, 0), 0);
    finds(family.with_defect(Defect::UnreadKept), Broken::Fault.name());
}

#[test]
fn an_application_that_swaps_messages_is_found() {
    let family = Family::links(Class::Volatile, Class::Volatile, (2, 0), 0);
    finds(family.with_defect(Defect::NewestFirst), Broken::Gap.name());
    finds(family.with_defect(Defect::NewestFirst), Broken::Order.name());
}

#[test]
fn a_line_lost_from_a_link_is_found() {
    let family = Family { losses: 1, ..Family::links(Class::Volatile, Class::Volatile, (1, 0), 0).without_crashes() };
    finds(family, NO_STANDSTILL);
}

#[test]
fn a_lasting_silence_is_found() {
    let family = Family::serial(Class::Volatile, Class::Volatile, (1, 0), 0).with_defect(Defect::DeafServer);
    finds(family, HEALS);
}

/// Explores deeper and deeper until the property is broken, so that the shortest counterexample is printed.
fn finds(family: Family, property: &'static str) {
    let seen = Arc::new(Seen::default());
    let found = (1..100).any(|depth| explore(family, &seen, Search::For { property, depth }).contains(&property));
    assert!(found, "no counterexample to: {property}");
}

#[derive(Clone, Copy)]
enum Search {
    All,
    For { property: &'static str, depth: usize },
}

/// One exploration at a time: each uses all there is.
static MACHINE: Mutex<()> = Mutex::new(());

/// Explores a family until it ends or a property is broken; the names of those.
fn explore(family: Family, seen: &Arc<Seen>, search: Search) -> Vec<&'static str> {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let checker = Line { family, seen: Arc::clone(seen) }.checker();
    let checker = match search {
        Search::All => {
            println!("{family}");
            checker.threads(2).finish_when(HasDiscoveries::AnyFailures)
        }
        Search::For { property, depth } => checker.target_max_depth(depth).finish_when(HasDiscoveries::AnyOf([property].into())),
    };
    checker.spawn_bfs().join_and_report(&mut Report { search, seconds: 0 }).discoveries().into_keys().collect()
}

struct Report {
    search: Search,
    seconds: u32,
}

impl Reporter<Line> for Report {
    fn report_checking(&mut self, data: ReportData) {
        self.seconds += 1;
        if matches!(self.search, Search::All) && (data.done || self.seconds.is_multiple_of(20)) {
            println!(
                "  {} states, {} of them unique, depth {}, {:.1} s{}",
                data.total_states,
                data.unique_states,
                data.max_depth,
                data.duration.as_secs_f64(),
                if data.done { "" } else { " so far" }
            );
        }
    }

    fn report_discoveries(&mut self, model: &Line, discoveries: BTreeMap<&'static str, ReportDiscovery<Line>>) {
        for (name, discovery) in discoveries {
            if matches!(self.search, Search::For { property, .. } if property != name) {
                continue;
            }
            println!("{}: BROKEN: {name}", model.family);
            tell(model, discovery.path.into_actions());
        }
    }

    fn delay(&self) -> std::time::Duration {
        std::time::Duration::from_millis(if matches!(self.search, Search::All) { 1_000 } else { 1 })
    }
}

/// Prints a path: each action, and the lines that are on their way after it.
fn tell(model: &Line, actions: Vec<Action>) {
    let mut world = World::new(&model.family);
    for action in actions {
        world = model.next_state(&world, action).expect("every action of a path has an effect");
        println!("    {action:?}");
        for (stream, direction) in [(&world.up, "to server"), (&world.down, "to client")] {
            for line in String::from_utf8_lossy(stream).lines() {
                println!("        {direction}: {line}");
            }
        }
    }
    println!("    client: {:?}, {:?}", world.client.session.snapshot(), world.client.session.outbox());
    println!("    server: {:?}, {:?}", world.server.session.snapshot(), world.server.session.outbox());
    println!("    to server: {:?}", world.to_server);
    println!("    to client: {:?}", world.to_client);
}
