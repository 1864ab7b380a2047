//! `serve`: the server at work.

use super::app::App;
use super::failure::{Failure, advice};
use super::host::Host;
use super::input::{self, Typed};
use super::log::{self, Shown};
use super::settings::Settings;
use super::signals::Stop;
use super::{output, tell};
use clap::Args;
use holdline_server::{Reports, Server};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    #[command(flatten)]
    settings: Settings,
    /// A TOML file with these options, such as `max-line = 1024` or `expect = ["door-1"]`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to do with messages: log, echo, answer:TEXT=TEXT, relay:FROM:TO, counter, counter:RATE
    #[arg(long, value_name = "APP", default_value = "log")]
    app: App,
    /// Log in JSON, one object a line, on standard error
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Standard output gets the messages, one JSON object a line:
  {\"client\":\"door-1\",\"text\":\"opened\"}
A message is acknowledged to the device when it has been written there.

Lines on standard input are sent; the device must have been here before:
  door-1 close
  {\"client\":\"a name with blanks\",\"text\":\"close\"}

Standard error gets the log: who came, which line broke and why. Ctrl-C or SIGTERM ends the server in good order: what is
on its way gets half of --drain to arrive, clients are asked to come back, what did not arrive is counted.

Examples:
  holdline-server serve --listen 127.0.0.1:8123
  holdline-server serve --expect door-1 --expect lamp-1 --only-expected
  holdline-server serve --app relay:switch-1:lamp-1
  holdline-server serve --listen-checked 0.0.0.0:8124      (with devices behind serial-to-TCP relays there)
  holdline-server serve --classic-2019 meter-1 --json 2>>holdline.log | ./my-program";

/// The options that say where it listens.
const LISTEN: &str = "--listen";
const LISTEN_CHECKED: &str = "--listen-checked";
/// How many lines may wait for standard output.
const OUTPUT_LINES: usize = 1_024;
/// How often the server looks for what the reports did not tell.
const LOOK: Duration = Duration::from_secs(5);

pub(super) async fn run(options: Options) -> Result<ExitCode, Failure> {
    let settings = options.settings.with_file(options.config.as_deref())?;
    let config = settings.config()?;
    let longest = config.session.max_line as usize;
    log::start(options.json);
    let mut stop = Stop::new();
    let server = Server::new(config)?;
    let reports = server.reports();
    let (address, checked) = (settings.listen(), settings.listen_checked());
    let fails = |option, address: &str| {
        let address = address.to_owned();
        move |error| Failure::Listen { address, error, option }
    };
    let unchecked = server.listen(address).await.map_err(fails(LISTEN, address))?;
    let checked = match checked {
        Some(address) => Some(server.listen_checked(address).await.map_err(fails(LISTEN_CHECKED, address))?),
        None => None,
    };
    announce(unchecked, checked, options.json);
    let (lines, written) = mpsc::channel(OUTPUT_LINES);
    let host = Arc::new(Host::new(server.clone(), options.app, lines));
    let mut writer = tokio::spawn(output::write(written));
    let follow = tokio::spawn(follow(Arc::clone(&host), reports, options.json));
    let typed = tokio::spawn(send_typed(server.clone(), longest));

    let broken = tokio::select! {
        () = stop.asked() => None,
        result = &mut writer => result.ok().and_then(Result::err),
    };
    typed.abort();
    if broken.is_none() {
        tracing::info!("stopping: what is on its way gets up to {} s; once more to end at once", settings.drain().as_secs_f32());
    }
    let undelivered = tokio::select! {
        undelivered = server.shutdown(settings.retry(), settings.drain()) => undelivered,
        () = stop.asked() => return Ok(ExitCode::FAILURE),
    };
    // What is still unread was not accepted: the clients keep it for the next server.
    follow.abort();
    // Ended, so that what it was about to print does not come after the last summary.
    let _ = follow.await;
    host.close().await;
    drop(host);
    if let Some(error) = broken {
        return Err(Failure::Output(error));
    }
    // A reader that does not read must not keep the server from ending.
    let flushed = tokio::time::timeout(settings.drain(), writer).await;
    farewell(&server, undelivered);
    match flushed {
        Ok(Ok(Err(error))) => Err(Failure::Output(error)),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Says where the server listens, who can reach it, and what to try.
fn announce(address: SocketAddr, checked: Option<SocketAddr>, json: bool) {
    if json {
        tracing::info!(event = "listening", address = %address, "listening on {address}");
        if let Some(address) = checked {
            tracing::info!(event = "listening", address = %address, check = "crc32", "listening on {address} for checked lines");
        }
        return;
    }
    tell(format_args!("{} {} listens on {address}", super::NAME, env!("CARGO_PKG_VERSION")));
    if let Some(address) = checked {
        tell(format_args!("  and on {address} for devices whose lines carry checks (check=crc32), and for no others"));
    }
    let all = [Some((LISTEN, address)), checked.map(|address| (LISTEN_CHECKED, address))];
    let all = || all.iter().flatten();
    let narrower: Vec<String> = all()
        .filter(|(_, address)| address.ip().is_unspecified())
        .map(|(option, address)| format!("{option} 127.0.0.1:{}", address.port()))
        .collect();
    // HL-0157: the default is wider than the specification would have it, so it says so.
    if !narrower.is_empty() {
        tell(format_args!(
            "  Everybody who can reach this machine can connect under any name, unencrypted. To serve this machine"
        ));
        let narrower = narrower.join(" ");
        tell(format_args!("  alone: {narrower}; to turn strangers away: --expect NAME --only-expected"));
    } else if all().any(|(_, address)| !address.ip().is_loopback()) {
        tell(format_args!("  Everybody who can reach this address can connect under any name, unencrypted."));
    }
    // As this one was called, so that it works from where it was called.
    let program = std::env::args().next().unwrap_or_else(|| super::NAME.into());
    tell(format_args!("  Try in another terminal: {program} connect --id door-1{}", server_option(address)));
    tell(format_args!("  What devices send is printed here; type `door-1 hello` to send to one; Ctrl-C ends."));
}

/// How `connect` finds this server, if not by itself.
fn server_option(address: SocketAddr) -> String {
    let host = if address.ip().is_unspecified() { "127.0.0.1".into() } else { address.ip().to_string() };
    match (host.as_str(), address.port()) {
        ("127.0.0.1", 8123) => String::new(),
        (host, port) if address.is_ipv6() && host.contains(':') => format!(" --server [{host}]:{port}"),
        (host, port) => format!(" --server {host}:{port}"),
    }
}

/// Logs what is reported, and attends to every client that appears.
async fn follow(host: Arc<Host>, mut reports: Reports, json: bool) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turned_away = 0;
    loop {
        tokio::select! {
            report = reports.next() => {
                let Some(report) = report else { return };
                let connection = host.server().get(&report.client);
                log::report(&report, connection.as_ref().map(|connection| connection.status().profile), json);
                if let Some(connection) = connection {
                    host.attend(connection);
                }
            }
            // Finds the clients that came before the reports were asked for, or in a storm of them.
            _ = look.tick() => {
                host.server().connections().into_iter().for_each(|connection| host.attend(connection));
                host.report_counts().await;
                let now = host.server().turned_away();
                if now > turned_away {
                    let count = now - turned_away;
                    tracing::info!(event = json.then_some("turned-away"), count = json.then_some(count), "turned away {count} connections that did not say who they are, or were refused");
                    turned_away = now;
                }
            }
        }
    }
}

/// What was typed for which client.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Addressed {
    client: String,
    text: String,
}

/// Sends what is typed, until standard input ends.
async fn send_typed(server: Server, longest: usize) {
    // An id and a message, each with every character escaped.
    let mut lines = input::lines(6 * (longest + 128) + 64);
    let mut number = 0_u64;
    while let Some(typed) = lines.recv().await {
        number += 1;
        if let Err(reason) = send_line(&server, typed).await {
            tell(format_args!("line {number} was not sent: {reason}"));
        }
    }
}

async fn send_line(server: &Server, typed: Typed) -> Result<(), String> {
    let line = match typed {
        Typed::Line(line) if line.is_empty() => return Ok(()),
        Typed::Line(line) => line,
        Typed::TooLong(length) => return Err(format!("it is {length} bytes long, more than any message can be: split it")),
        Typed::NotUtf8 => return Err("it is not UTF-8: convert it, for example with iconv".into()),
    };
    let Addressed { client, text } = addressed(&line)?;
    let Some(connection) = server.get(&client) else {
        return Err(format!("no client `{}` has been here yet: wait for its first connection, then send again", Shown(&client)));
    };
    loop {
        // While the line is up there will be room soon; while it is down, waiting would hold up all other clients.
        if let Ok(sent) = tokio::time::timeout(Duration::from_millis(250), connection.send(&text)).await {
            return sent.map_err(advice);
        }
        let status = connection.status();
        if !status.up {
            return Err(format!(
                "`{}` is away and {} messages wait for it: send again when it is back",
                Shown(&client),
                status.unacked
            ));
        }
    }
}

/// Reads `<client id> <text>`, or a JSON object of both.
fn addressed(line: &str) -> Result<Addressed, String> {
    if line.starts_with('{') {
        return serde_json::from_str(line)
            .map_err(|error| format!("{error}; a line that begins with {{ is JSON: {{\"client\":\"NAME\",\"text\":\"TEXT\"}}"));
    }
    match line.split_once(' ') {
        Some((client, text)) if !client.is_empty() => Ok(Addressed { client: client.into(), text: text.into() }),
        _ => Err("write the client's name, a blank and the text, such as `door-1 hello`".into()),
    }
}

/// Tells what was left undone.
fn farewell(server: &Server, undelivered: usize) {
    if undelivered == 0 {
        tracing::info!("stopped; nothing was left undelivered");
        return;
    }
    let mut waiting: Vec<(String, usize)> =
        server.connections().iter().map(|connection| (connection.id().to_owned(), connection.status().unacked)).collect();
    waiting.retain(|&(_, count)| count > 0);
    waiting.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let named: Vec<String> = waiting.iter().take(5).map(|(id, count)| format!("{count} for {}", Shown(id))).collect();
    let more = if waiting.len() > 5 { ", …" } else { "" };
    tracing::warn!(undelivered, "stopped; {undelivered} messages were not delivered and are gone: {}{more}", named.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_addressed() {
        let to = |line| addressed(line).map(|addressed| (addressed.client, addressed.text)).ok();
        let pair = |client: &str, text: &str| Some((client.to_owned(), text.to_owned()));
        assert_eq!(to("door-1 hello there"), pair("door-1", "hello there"));
        assert_eq!(to("door-1 "), pair("door-1", ""));
        assert_eq!(to("{\"client\":\"a b\",\"text\":\"x\\ny\"}"), pair("a b", "x\ny"));
        for wrong in ["door-1", " hello", "{door", "{\"client\":\"a\"}", "{\"client\":\"a\",\"text\":\"b\",\"c\":1}"] {
            assert_eq!(to(wrong), None, "{wrong}");
        }
    }
}
