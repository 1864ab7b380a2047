//! The real server and the real client under the simulator's outages: Tokio's clock paused, streams of a simulated net, and the same
//! judges as the protocol's own runs.
//!
//! What is random follows from a seed. `HOLDLINE_SEEDS=0..5000` chooses which stories are drawn, `HOLDLINE_SEEDS=17` plays one.

mod defect;
mod line;
mod site;

use defect::Defect;
use holdline_sim::fleet::Outcome;
use holdline_sim::ledger::Delivery;
use holdline_sim::outage::Outage;
use holdline_sim::scenario::Scenario;
use holdline_sim::{library, shrink, swarm};
use site::Premises;
use std::ops::{ControlFlow, Range};
use std::time::Duration;
use tokio::time::Instant;

/// What `cargo test` plays.
const SEEDS: Range<u64> = 0..48;
/// How long a line that has come to rest is watched for what should not come.
const AFTERWARDS: Duration = Duration::from_secs(10);

#[test]
fn random_stories_lose_repeat_and_reorder_nothing() {
    let seeds = seeds();
    let total = swarm::play(seeds.clone(), |seed| play(&Scenario::random(seed), seed, None), |_, _| ControlFlow::Continue(()));
    let Some(&seed) = total.broken.first() else {
        let account = total.outcome.account;
        println!("{seeds:?}: {account:?}, {} links, {} bytes", total.outcome.links, total.outcome.bytes);
        assert!(account.delivered > 10 * (seeds.end - seeds.start), "{account:?}");
        return;
    };
    let story = shrink::shrink(&Scenario::random(seed), |story| !play(story, seed, None).violations.is_empty());
    panic!(
        "{} of {seeds:?} broke the promise, the first is {seed}: {:#?}\nin\n{}\nagain: HOLDLINE_SEEDS={seed} cargo test -p holdline-server --test outages",
        total.broken.len(),
        play(&story, seed, None).violations,
        story.to_toml()
    );
}

#[test]
fn every_story_of_the_library_loses_repeats_and_reorders_nothing() {
    for name in library::names() {
        let mut story = library::load(name).expect("it comes with the simulator");
        // Nothing in it depends on how many there are.
        story.fleet.devices = story.fleet.devices.min(5);
        story.outages.retain(|entry| entry.device.is_none_or(|device| device < story.fleet.devices));
        let outcome = play(&story, 1, None);
        assert!(outcome.violations.is_empty(), "{name}: {:#?}", outcome.violations);
        assert!(outcome.account.delivered > 0, "{name}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..6 {
        let story = Scenario::random(seed);
        let (once, again) = (play(&story, seed, None), play(&story, seed, None));
        assert_eq!((once.hash, once.account, once.pauses_ms), (again.hash, again.account, again.pauses_ms), "seed {seed}");
        assert_ne!(once.hash, play(&story, seed + 1_000, None).hash, "seed {seed}");
    }
}

/// The judges catch what is broken on purpose, and nothing without it.
#[test]
fn what_is_broken_on_purpose_is_noticed() {
    let by = |defect, outage: &str, what: &str| {
        let text = format!("name = \"test\"\nabout = \"\"\nfor_ms = 60000\n{outage}");
        let story = Scenario::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(play(&story, 1, None).violations, [""; 0], "without the defect");
        let told = play(&story, 1, Some(defect)).violations;
        assert!(told.iter().any(|violation| violation.contains(what)), "{defect:?} is not seen as `{what}`, but: {told:#?}");
    };
    let black_hole =
        "fleet.message_every_ms = 0\n[[outage]]\nat_ms = 20000\nfor_ms = 20000\ndo = \"black-hole\"\nthen = \"never\"";
    let refused = "[[outage]]\nat_ms = 20000\nfor_ms = 20000\ndo = \"no-connect\"\nhow = \"refused\"\n\
        [[outage]]\nat_ms = 20001\ndo = \"cut\"";
    by(Defect::SwallowedDigits, "", "arrived that nobody sent");
    by(Defect::MadeUpKeepalives, black_hole, "up and dead");
    by(Defect::LostByTheApplication, "", "acknowledged and never accepted");
    by(Defect::ImpatientConnector, refused, "attempts to connect");
}

/// Whatever byte a link breaks off after, each way, nobody is told and nothing is lost.
#[test]
fn a_link_that_ends_after_any_byte_costs_nothing() {
    let text = "name = \"cut\"\nabout = \"\"\nfor_ms = 4000\nfleet.message_every_ms = 150\nfleet.message_length = 24";
    let story = Scenario::parse(text).unwrap_or_else(|error| panic!("{error}"));
    let hello = 130;
    for byte in (0..2 * hello).chain([1_000]) {
        for (up, down) in [(byte, usize::MAX), (usize::MAX, byte), (byte, byte)] {
            let outcome = play_from(&story, 1, None, |premises| premises.cut_first_link(up, down));
            assert!(outcome.violations.is_empty(), "cut after {up} and {down} bytes: {:#?}", outcome.violations);
            let account = outcome.account;
            assert!(account.sent > 20 && account.delivered == account.sent && account.repeated == 0, "{account:?}");
        }
    }
}

/// A device hears in the welcome that the server knows more of its epoch than itself, and numbers anew; but the server takes it for
/// one that forgot nothing, and does not say so.
#[test]
fn an_epoch_and_a_boot_that_are_drawn_again_hide_that_the_device_forgot() {
    let story = library::load("device-brownout").expect("it comes with the simulator");
    let outcome = play(&story, 1, Some(Defect::SameNumbersAgain));
    assert_eq!((outcome.account.lost, outcome.account.repeated), (0, 0));
    let told = |violation: &String| violation.contains("a loss was not reported: PeerForgot");
    assert!(outcome.links > 1 && outcome.violations.iter().any(told), "{outcome:#?}");
}

fn seeds() -> Range<u64> {
    let Ok(chosen) = std::env::var("HOLDLINE_SEEDS") else { return SEEDS };
    let number = |text: &str| text.parse::<u64>().expect("HOLDLINE_SEEDS is a number, or two with `..` between them");
    match chosen.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(&chosen)..number(&chosen) + 1,
    }
}

/// Plays a story, heals everything, lets it come to rest, and says what became of it.
fn play(story: &Scenario, seed: u64, defect: Option<Defect>) -> Outcome {
    play_from(story, seed, defect, |_| {})
}

/// The same, with something done before anything happens.
fn play_from(story: &Scenario, seed: u64, defect: Option<Defect>, before: impl FnOnce(&mut Premises)) -> Outcome {
    let mut story = story.drawn(seed);
    // A program on Tokio's clock has no other.
    let of_clock = |outage| matches!(outage, Outage::ClockJump | Outage::ClockDrift { .. } | Outage::ClockWrap);
    story.outages.retain(|entry| !of_clock(entry.outage));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a thread").block_on(async {
        let mut premises = Premises::new(&story, seed, defect);
        before(&mut premises);
        played(premises, &story).await
    })
}

async fn played(mut premises: Premises, story: &Scenario) -> Outcome {
    let begun = premises.begun();
    let at = |ms: u32| begun + Duration::from_millis(ms.into());
    for step in story.steps() {
        judged_until(&premises, at(step.at_ms)).await;
        story.take(step, &mut premises);
    }
    judged_until(&premises, at(story.for_ms)).await;
    premises.heal();
    let patience = Instant::now() + Duration::from_millis(story.settle_ms().into());
    // A link that is dead and not known to be looks like rest, and its successor may be a backoff away.
    let at_rest = || premises.lines().all(|line| line.lock().is_at_rest());
    loop {
        while Instant::now() < patience && !at_rest() {
            judged_until(&premises, Instant::now() + Duration::from_secs(1)).await;
        }
        judged_until(&premises, Instant::now() + AFTERWARDS).await;
        if at_rest() || Instant::now() >= patience {
            break;
        }
    }
    outcome(&premises)
}

/// Lets time pass, and has every line judged now and then.
async fn judged_until(premises: &Premises, end: Instant) {
    loop {
        let next = end.min(Instant::now() + Duration::from_millis(100));
        tokio::time::sleep_until(next).await;
        for line in premises.lines() {
            line.lock().judge();
        }
        if next == end {
            return;
        }
    }
}

fn outcome(premises: &Premises) -> Outcome {
    let mut outcome = Outcome { hash: premises.hash(), bytes: premises.bytes(), ..Outcome::default() };
    for line in premises.lines() {
        let state = line.lock();
        let accounts = &state.accounts;
        outcome.links += u64::from(accounts.links);
        outcome.pauses_ms.extend(&accounts.pauses);
        outcome.violations.extend(accounts.violations.iter().map(|what| format!("{}: {what}", state.id)));
        for (ledger, way) in [(&accounts.up, "up"), (&accounts.down, "down")] {
            outcome.account += ledger.account(Delivery::Reliable);
            outcome.violations.extend(ledger.violations(true).into_iter().map(|what| format!("{} {way}: {what}", state.id)));
        }
        if !state.is_up() {
            outcome.violations.push(format!("{} did not come back", state.id));
        }
    }
    outcome
}
