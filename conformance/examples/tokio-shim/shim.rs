//! The shim protocol around `holdline_server`: a request a line, an answer a line.

use holdline_server::proto::{Config, Event, OnForgotten, PeerFault, Role, SendError, classic::Flavour};
use holdline_server::{Client, Connection, Profile, Received, Reports, Server, ServerConfig, What, WriteError};
use serde_json::{Map, Value as Json, json};
use std::io::{BufRead, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Answers requests until there are no more.
pub(crate) fn run() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut shim = Shim::default();
    for line in std::io::stdin().lock().lines() {
        let request: Json = serde_json::from_str(&line?).unwrap_or_default();
        let mut answer = match runtime.block_on(shim.answer(&request)) {
            Ok(Json::Object(answer)) => Json::Object(answer),
            Ok(_) => json!({}),
            Err((error, why)) => json!({"error": error, "why": why}),
        };
        answer["ok"] = json!(answer.get("error").is_none());
        answer["id"] = request.get("id").cloned().unwrap_or_default();
        let mut output = std::io::stdout().lock();
        writeln!(output, "{answer}")?;
        output.flush()?;
        if request.get("do").is_some_and(|verb| verb == "stop") {
            break;
        }
    }
    // Tasks that still wait for a peer are not waited for.
    runtime.shutdown_background();
    Ok(())
}

type Answer = Result<Json, (&'static str, String)>;

#[derive(Default)]
struct Shim {
    server: Option<Server>,
    client: Option<Client>,
    events: Events,
}

/// What was told of each client.
type Events = Arc<Mutex<Vec<(String, Json)>>>;

fn failed(why: impl ToString) -> (&'static str, String) {
    ("failed", why.to_string())
}

impl Shim {
    async fn answer(&mut self, request: &Json) -> Answer {
        let text = |key: &str| request.get(key).and_then(Json::as_str);
        let id = text("client").unwrap_or_default().to_owned();
        match text("do").unwrap_or_default() {
            "hello" => Ok(json!({
                "shim": 1,
                "name": "holdline-server",
                "version": env!("CARGO_PKG_VERSION"),
                "roles": ["client", "server"],
                "profiles": ["native", "classic-2020", "classic-2019"],
                "keeps": ["none"],
                "check": ["none", "crc32"],
            })),
            "start" if self.server.is_none() && self.client.is_none() => self.start(request).await,
            "stop" => Ok(Json::Null),
            verb @ ("send" | "recv" | "state" | "close") => match (&self.client, &self.server) {
                (Some(client), _) => act(client, verb, request, "", &self.events).await,
                (_, Some(server)) => match server.get(&id) {
                    Some(connection) => act(&connection, verb, request, &id, &self.events).await,
                    None => match verb {
                        "recv" => Ok(json!({"text": null})),
                        "state" => Ok(json!({"up": false, "links": 0, "outbox": 0, "events": told(&self.events, &id)})),
                        _ => Err(failed("that client was never here")),
                    },
                },
                _ => Err(failed("it was not started")),
            },
            "shutdown" => {
                let Some(server) = self.server.clone() else { return Err(failed("there is no server")) };
                let ms = |key: &str| Duration::from_millis(request.get(key).and_then(Json::as_u64).unwrap_or(0));
                let (retry, bound) = (ms("retry_ms"), ms("bound_ms"));
                tokio::spawn(async move { server.shutdown(retry, bound).await });
                Ok(Json::Null)
            }
            other => Err(("unimplemented", format!("no verb {other:?}"))),
        }
    }

    async fn start(&mut self, request: &Json) -> Answer {
        let settings = request.as_object().cloned().unwrap_or_default();
        const KNOWN: &str = " id do role profile connect client listen timeout_ms window max check keeps on_forgotten in_order fallback \
                             outbox timeout_min_ms timeout_max_ms hello_timeout_ms half_open sessions expected serves ";
        if let Some(unknown) = settings.keys().find(|key| !KNOWN.contains(&format!(" {key} "))) {
            return Err(("unimplemented", format!("no setting {unknown:?}")));
        }
        let text = |key: &str| settings.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        if !matches!(&*text("keeps"), "" | "none") {
            return Err(("unimplemented", "it keeps nothing over restarts".to_owned()));
        }
        let is_checked = match &*text("check") {
            "" | "none" => false,
            "crc32" => true,
            other => return Err(("unimplemented", format!("no check {other:?}"))),
        };
        let flavour = |word: &str| match word {
            "classic-2020" => Some(Flavour::V2020),
            "classic-2019" => Some(Flavour::V2019),
            _ => None,
        };
        let mut config = config(&settings)?;
        let outbox = number(&settings, "outbox", 1_024)?;
        let profile = flavour(&text("profile")).map_or(Profile::Native, Profile::Classic);
        if text("role") == "client" {
            if matches!(profile, Profile::Classic(_)) && settings.contains_key("window") {
                return Err(("unimplemented", "the queue of a classic client has no setting".to_owned()));
            }
            config.check = is_checked;
            let mut builder = Client::builder(&text("client"), &text("connect")).session(config).profile(profile);
            builder = builder.outbox(outbox, 64 << 20);
            if let Some(fallback) = flavour(&text("fallback")) {
                builder = builder.fallback(fallback);
            }
            listen(builder.reports(), Arc::clone(&self.events), false);
            let client = builder.start().map_err(failed)?;
            self.client = Some(client);
            return Ok(Json::Null);
        }
        let list = |key: &str| -> Option<Vec<String>> {
            Some(settings.get(key)?.as_array()?.iter().filter_map(Json::as_str).map(str::to_owned).collect())
        };
        let serves = list("serves");
        let serves = |word: &str| serves.as_ref().is_none_or(|all| all.iter().any(|one| one.starts_with(word)));
        let expected = list("expected");
        let mut given = ServerConfig {
            session: config,
            native: serves("native"),
            classic: serves("classic"),
            flavour: flavour(&text("profile")).unwrap_or_default(),
            only_expected: expected.is_some(),
            expected: expected.unwrap_or_default().into_iter().collect(),
            ..ServerConfig::default()
        };
        if matches!(profile, Profile::Classic(_)) {
            given.classic_timeout_ms = Some(number(&settings, "timeout_ms", 2_000)?);
            given.limits.inbox = number(&settings, "window", given.limits.inbox)?;
        }
        given.limits.outbox_messages = outbox;
        given.limits.half_open = number(&settings, "half_open", given.limits.half_open)?;
        given.limits.sessions = number(&settings, "sessions", given.limits.sessions)?;
        given.limits.hello_timeout = Duration::from_millis(number(&settings, "hello_timeout_ms", 5_000)?);
        let server = Server::new(given).map_err(failed)?;
        listen(server.reports(), Arc::clone(&self.events), true);
        let address = match is_checked {
            true => server.listen_checked(text("listen")).await,
            false => server.listen(text("listen")).await,
        };
        self.server = Some(server);
        Ok(json!({"address": address.map_err(failed)?.to_string()}))
    }
}

fn config(settings: &Map<String, Json>) -> Result<Config, (&'static str, String)> {
    let classic_2019 = settings.get("profile").is_some_and(|word| word == "classic-2019");
    let mut config = Config::new()
        .timeout_ms(number(settings, "timeout_ms", if classic_2019 { 1_500 } else { 2_000 })?)
        .timeout_range_ms(number(settings, "timeout_min_ms", 200)?, number(settings, "timeout_max_ms", 3_600_000)?)
        .window(number(settings, "window", 16)?)
        .max_line(number(settings, "max", 4_096)?);
    if settings.get("on_forgotten").is_some_and(|word| word == "skip") {
        config.on_forgotten = OnForgotten::Skip;
    }
    config.in_order = settings.get("in_order").and_then(Json::as_bool).unwrap_or(true);
    Ok(config)
}

fn number<N: TryFrom<u64>>(settings: &Map<String, Json>, key: &str, or: N) -> Result<N, (&'static str, String)> {
    match settings.get(key) {
        None => Ok(or),
        Some(value) => {
            let number = value.as_u64().and_then(|number| N::try_from(number).ok());
            number.ok_or_else(|| failed(format!("{key} {value} is out of range")))
        }
    }
}

/// Notes what is told, by client; a client's own reports under no name.
fn listen(mut reports: Reports, events: Events, by_client: bool) {
    tokio::spawn(async move {
        while let Some(report) = reports.next().await {
            let client = if by_client { report.client.to_string() } else { String::new() };
            let told = event(&report.what, &report.client);
            let mut events = events.lock().unwrap_or_else(PoisonError::into_inner);
            events.extend(told.into_iter().map(|event| (client.clone(), event)));
        }
    });
}

fn event(what: &What, client: &str) -> Vec<Json> {
    let fault = |fault: PeerFault| json!({"event": "fault", "fault": fault.code()});
    match what {
        What::Connected | What::Resumed { .. } => vec![json!({"event": "up"})],
        What::Outage(reason) => vec![json!({"event": "down", "reason": word(*reason)})],
        What::Duplicate => vec![json!({"event": "duplicate-client", "client": client})],
        What::Fault(of) => vec![fault(*of)],
        What::Refused { code, retry } => {
            vec![json!({"event": "refused", "code": code.token(), "retry": retry.as_millis() as u64})]
        }
        What::NotHoldline => vec![json!({"event": "not-holdline"})],
        What::Session(event) => match *event {
            Event::PeerReset => vec![json!({"event": "peer-reset"})],
            Event::LostIncoming { from, to } => vec![json!({"event": "lost", "from": from, "to": to, "direction": "in"})],
            Event::LostOutgoing { from, to } => vec![json!({"event": "lost", "from": from, "to": to, "direction": "out"})],
            Event::PeerForgot { from, to, .. } => vec![json!({"event": "peer-forgot", "from": from, "to": to})],
            Event::OwnReset { .. } => vec![json!({"event": "own-reset"})],
            Event::Blocked { seq, len, max } => vec![json!({"event": "blocked", "seq": seq, "len": len, "max": max})],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn word(reason: holdline_server::proto::DownReason) -> &'static str {
    use holdline_server::proto::DownReason;
    match reason {
        DownReason::Outage => "silence",
        DownReason::Stall => "stall",
        DownReason::Disconnected => "end-of-stream",
        DownReason::Bye { code, .. } => code.token(),
        DownReason::Fault(fault) => fault.code(),
        DownReason::Takeover => "takeover",
        DownReason::Reset => "reset",
        DownReason::Closed => "done",
        _ => "transport",
    }
}

fn told(events: &Events, id: &str) -> Vec<Json> {
    let mut events = events.lock().unwrap_or_else(PoisonError::into_inner);
    let (own, others): (Vec<_>, Vec<_>) = events.drain(..).partition(|(client, _)| client == id);
    *events = others;
    own.into_iter().map(|(_, event)| event).collect()
}

async fn act<R: Role>(line: &Connection<R>, verb: &str, request: &Json, id: &str, events: &Events) -> Answer {
    match verb {
        "send" => send(line, request).await,
        "recv" => {
            let wait = Duration::from_millis(request.get("wait_ms").and_then(Json::as_u64).unwrap_or(0));
            match tokio::time::timeout(wait, line.recv()).await {
                Ok(Ok(Received { text, receipt })) => {
                    let delivery = if receipt.is_some() { "exactly-once" } else { "best-effort" };
                    if let Some(receipt) = receipt {
                        line.accept(receipt);
                    }
                    Ok(json!({"text": text, "delivery": delivery}))
                }
                _ => Ok(json!({"text": null})),
            }
        }
        "close" => {
            line.drop_link();
            line.close();
            Ok(Json::Null)
        }
        _ => {
            let status = line.status();
            let events = told(events, id);
            Ok(json!({"up": status.up, "links": status.connects, "outbox": status.unacked, "events": events}))
        }
    }
}

async fn send<R: Role>(line: &Connection<R>, request: &Json) -> Answer {
    let Some(text) = request.get("text").and_then(Json::as_str) else { return Err(failed("there is no text")) };
    let sent = match request.get("delivery").and_then(Json::as_str).unwrap_or("exactly-once") {
        "exactly-once" => line.try_send(text),
        "best-effort" => line.send_best_effort(text).map_err(WriteError::from),
        "latest" => {
            let slot = request.get("slot").and_then(Json::as_u64).and_then(|slot| u8::try_from(slot).ok()).unwrap_or(0);
            // It waits for room, and a shim does not.
            let sending = tokio::time::timeout(Duration::from_millis(50), line.send_latest(slot, text));
            sending.await.unwrap_or(Err(WriteError::Text(SendError::Full)))
        }
        other => return Err(("unimplemented", format!("no delivery {other:?}"))),
    };
    sent.map(|()| Json::Null).map_err(|error| match error {
        WriteError::Text(SendError::Full) => ("full", error.to_string()),
        WriteError::Text(SendError::TooLong { .. }) => ("too-long", error.to_string()),
        WriteError::Text(SendError::LineFeed | SendError::Nul | SendError::Empty) => ("not-text", error.to_string()),
        WriteError::Text(SendError::Down) => ("down", error.to_string()),
        _ => failed(error),
    })
}
