//! What happens by itself at set times.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Error;
use super::collection::{Proxies, ProxySpec};
use super::kind::Close;
use super::toxic::Toxic;

/// Something that happens to the connections of a proxy, some time after the start.
#[derive(Debug, Clone, PartialEq)]
pub struct Outage {
    /// When it begins, from the start of the plan.
    pub at: Duration,
    /// What happens.
    pub act: Act,
    /// How long it lasts; `None` is to the end.
    pub lasts: Option<Duration>,
    /// The proxy's name; `None` is every proxy.
    pub proxy: Option<String>,
}

/// What an outage does.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// A toxic is there while it lasts. One whose name an earlier outage of the plan has gets a number behind it.
    Toxic(Toxic),
    /// Nobody listens, and all connections close: new ones are refused.
    Down,
    /// The connections of this moment close; it does not last.
    Disconnect(Close),
}

#[derive(Debug)]
struct Event<'a> {
    at: Duration,
    begins: bool,
    act: Act,
    proxy: Option<&'a str>,
}

/// Lets outages happen, each at its time, and returns after the end of the last one.
///
/// At the same moment, what ends does so before something begins. Dropping the future leaves things as they are then.
///
/// # Errors
///
/// The first operation's that fails: [`Error::ProxyNotFound`], [`Error::Listen`] when somebody took the address meanwhile,
/// [`Error::ToxicAlreadyExists`] when the HTTP API has added one of that name.
pub async fn play(proxies: &Proxies, outages: &[Outage]) -> Result<(), Error> {
    let start = Instant::now();
    for event in events(outages) {
        sleep_until(start.checked_add(event.at).unwrap_or(start)).await;
        let names = match event.proxy {
            Some(name) => vec![name.to_owned()],
            None => proxies.list().await.into_keys().collect(),
        };
        for name in names {
            tracing::info!(proxy = name, act = ?event.act, begins = event.begins, "outage");
            happen(proxies, &name, &event).await?;
        }
    }
    Ok(())
}

fn events(outages: &[Outage]) -> Vec<Event<'_>> {
    let mut names = BTreeSet::new();
    let mut events = Vec::new();
    for outage in outages {
        let act = match &outage.act {
            Act::Toxic(toxic) => Act::Toxic(with_new_name(toxic, &mut names)),
            other => other.clone(),
        };
        let event = |at, begins| Event { at, begins, act: act.clone(), proxy: outage.proxy.as_deref() };
        events.push(event(outage.at, true));
        if let (Some(lasts), Act::Toxic(_) | Act::Down) = (outage.lasts, &outage.act) {
            events.push(event(outage.at.saturating_add(lasts), false));
        }
    }
    events.sort_by_key(|event| (event.at, event.begins));
    events
}

fn with_new_name(toxic: &Toxic, names: &mut BTreeSet<String>) -> Toxic {
    let numbered = (2_u64..).map(|number| format!("{}_{number}", toxic.name()));
    let name = std::iter::once(toxic.name().to_owned()).chain(numbered).find(|name| !names.contains(name)).unwrap_or_default();
    names.insert(name.clone());
    toxic.clone().named(name)
}

async fn happen(proxies: &Proxies, name: &str, event: &Event<'_>) -> Result<(), Error> {
    match &event.act {
        Act::Toxic(toxic) if event.begins => drop(proxies.add_toxic(name, toxic.clone()).await?),
        Act::Toxic(toxic) => proxies.remove_toxic(name, toxic.name()).await?,
        Act::Down => {
            let change = ProxySpec { enabled: Some(!event.begins), ..ProxySpec::default() };
            proxies.update(name, &change).await?;
        }
        Act::Disconnect(close) => proxies.disconnect(name, *close).await?,
    }
    Ok(())
}
