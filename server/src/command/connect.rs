//! `connect`: a device on your desk.

use super::count::{Count, Numbered, new_run};
use super::failure::{Failure, advice};
use super::input::{self, Typed};
use super::log::{self, Shown};
use super::output::{self, Line};
use super::quantity::{Readable, Span};
use super::signals::Stop;
use super::tell;
use clap::{Args, ValueEnum};
use holdline_server::proto::{Client as ClientRole, Config, DownReason, RefusalCode, classic::Flavour};
use holdline_server::{Client, Connection, Profile, Reports, What};
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// The name of this device: 1 to 64 characters of printable ASCII without blanks and `=`
    #[arg(long, value_name = "NAME")]
    id: String,
    /// The server
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8123")]
    server: String,
    /// What to speak; auto is native, and classic-2020 where that is not understood
    #[arg(long, value_name = "PROFILE", default_value = "native")]
    profile: Spoken,
    /// Put a check on each line, as for a server at the address of its --listen-checked; with the native profile only
    #[arg(long)]
    check: bool,
    /// How long a silence may be, 200ms to 1h; in a classic profile it must be the server's [default: 2s; classic-2019: 1.5s]
    #[arg(long, value_name = "TIME")]
    timeout: Option<Span>,
    /// Send this many numbered messages instead of what is typed
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Numbered messages a second
    #[arg(long, value_name = "R", default_value = "10", value_parser = rate)]
    rate: f64,
    /// Stay when everything is delivered, until Ctrl-C
    #[arg(long)]
    stay: bool,
}

const EXAMPLES: &str = "\
Lines from standard input are sent; what is received goes to standard output, one message a line; standard error tells how
the connection is doing. It ends when standard input has ended and everything is delivered; with --stay, at Ctrl-C.

Numbered messages, its own and those it receives, read `count=17 run=5f3a91c2`: both ends check them. The exit status is 1 if
any were lost, repeated or reordered, or if something could not be sent or was left undelivered.

Examples:
  holdline-server connect --id door-1
  echo opened | holdline-server connect --id door-1 --server 192.168.1.10:8123
  holdline-server connect --id door-1 --count 1000 --rate 50      (to a server with --app counter)
  holdline-server connect --id old-1 --profile classic-2020
  holdline-server connect --id relay-1 --check --server 192.168.1.10:8124      (to the address of --listen-checked)";

/// What `connect` speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Spoken {
    Native,
    #[value(name = "classic-2019")]
    Classic2019,
    #[value(name = "classic-2020")]
    Classic2020,
    Auto,
}

impl Spoken {
    const fn profile(self) -> Profile {
        match self {
            Self::Native | Self::Auto => Profile::Native,
            Self::Classic2019 => Profile::Classic(Flavour::V2019),
            Self::Classic2020 => Profile::Classic(Flavour::V2020),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Native => "native Holdline",
            Self::Auto => "Holdline, neither native nor classic-2020",
            Self::Classic2019 => "classic-2019",
            Self::Classic2020 => "classic-2020",
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=10_000.0).contains(rate));
    rate.ok_or_else(|| "it must be 0.001 to 10000 messages a second".into())
}

/// What came of sending.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    messages: u64,
    /// Lines that cannot be messages.
    unsendable: u64,
}

/// How many lines may wait for standard output.
const OUTPUT_LINES: usize = 256;
/// How long acknowledgements may take when the program is asked to end.
const LAST_ACKS: Duration = Duration::from_secs(1);
/// How long a line has to be up to show that the other end means it.
const PROVEN: Duration = Duration::from_secs(1);
/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// The longest line read from standard input; the session knows better what it can send.
const TYPED_MAX: usize = 1 << 20;

pub(super) async fn run(options: Options) -> Result<ExitCode, Failure> {
    let mut stop = Stop::new();
    let (client, reports) = start(&options)?;
    tell(format_args!("connecting to {} as {} ({})", Shown(&options.server), client.id(), client.status().profile));
    let (lines, written) = mpsc::channel(OUTPUT_LINES);
    let mut writer = tokio::spawn(output::write(written));
    let mut received = Vec::new();
    let mut sent = Sent::default();
    let work = async {
        // Before the first contact nobody knows how long a message may be.
        let _ = client.wait_up().await;
        send(&client, &options, &mut sent).await;
        // A line that was closed has nothing left to wait for.
        let _ = client.flush().await;
        if options.stay {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        () = work => Ok(()),
        () = receive(client.connection(), lines, &mut received) => Ok(()),
        failure = narrate(reports, &client, &options) => Err(failure),
        result = &mut writer => Err(result.ok().and_then(Result::err).map_or(Failure::Usage("it ended".into()), Failure::Output)),
        () = stop.asked() => Ok(()),
    };
    if client.status().up {
        // What is on its way is acknowledged in a moment, and what is not is told.
        let _ = tokio::time::timeout(LAST_ACKS, client.flush()).await;
    }
    let undelivered = client.status().unacked;
    goodbye(client).await;
    ended?;
    Ok(conclude(&options, sent, undelivered, &received))
}

fn start(options: &Options) -> Result<(Client, Reports), Failure> {
    if options.check && options.profile != Spoken::Native {
        return Err(Failure::Usage("only native lines carry checks: leave out --check, or --profile".into()));
    }
    let profile = options.profile.profile();
    let timeout_ms = match (options.timeout, profile) {
        (Some(timeout), _) => timeout.ms(),
        (None, Profile::Native) => Config::new().timeout_ms,
        (None, Profile::Classic(flavour)) => flavour.default_timeout_ms(),
    };
    let session = Config::new().timeout_ms(timeout_ms).check(options.check);
    let mut builder = Client::builder(&options.id, &options.server).profile(profile).session(session);
    if options.profile == Spoken::Auto {
        builder = builder.fallback(Flavour::V2020);
    }
    let reports = builder.reports();
    Ok((builder.start()?, reports))
}

/// Sends what is typed, or numbered messages, until there are no more.
async fn send(client: &Client, options: &Options, sent: &mut Sent) {
    if let Some(count) = options.count {
        let run = new_run();
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / options.rate));
        for number in 1..=count {
            ticks.tick().await;
            if client.send(&Numbered { number, run: &run }.to_string()).await.is_err() {
                return;
            }
            sent.messages += 1;
        }
        return;
    }
    let mut lines = input::lines(TYPED_MAX);
    while let Some(typed) = lines.recv().await {
        let number = sent.messages + sent.unsendable + 1;
        let result = match typed {
            Typed::Line(text) => client.send(&text).await.map_err(advice),
            Typed::TooLong(length) => Err(format!("it is {length} bytes long, more than any message can be: split it")),
            Typed::NotUtf8 => Err("it is not UTF-8: convert it, for example with iconv".into()),
        };
        match result {
            Ok(()) => sent.messages += 1,
            Err(reason) => {
                sent.unsendable += 1;
                tell(format_args!("line {number} was not sent: {reason}"));
            }
        }
    }
}

/// Prints what is received, and checks what is numbered, until the line is closed.
async fn receive(connection: Connection<ClientRole>, out: mpsc::Sender<Line<ClientRole>>, counts: &mut Vec<Count>) {
    while let Ok(received) = connection.recv().await {
        if let Some(Numbered { number, run }) = Numbered::read(&received.text) {
            if counts.last().is_none_or(|count| count.run() != run) {
                counts.push(Count::of(run));
            }
            if let Some(count) = counts.last_mut() {
                count.take(number);
            }
        }
        let accept = received.receipt.map(|receipt| (connection.clone(), receipt));
        if out.send(Line { text: received.text, accept }).await.is_err() {
            // The writer has failed, and says so.
            std::future::pending::<()>().await;
        }
    }
}

/// Tells how the connection is doing; returns when there is no point in going on.
async fn narrate(mut reports: Reports, client: &Client, options: &Options) -> Failure {
    let mut narrator = Narrator {
        client,
        server: Shown(&options.server).to_string(),
        spoken: options.profile,
        check: options.check,
        ever_up: false,
        up_since: None,
        proven: false,
        last_reason: String::new(),
    };
    while let Some(report) = reports.next().await {
        if let Some(failure) = narrator.hear(&report.what) {
            return failure;
        }
    }
    // The client is still there, and so are its reports.
    std::future::pending().await
}

/// Tells a person what is reported.
struct Narrator<'c> {
    client: &'c Client,
    server: String,
    spoken: Spoken,
    check: bool,
    ever_up: bool,
    up_since: Option<Instant>,
    /// Whether a link has been up for long enough to show that the other end speaks this profile.
    proven: bool,
    /// Why the server was not reached, as it was last told.
    last_reason: String,
}

impl Narrator<'_> {
    /// Tells about a report; returns a failure after which there is no point in going on.
    fn hear(&mut self, what: &What) -> Option<Failure> {
        let server = &self.server;
        if matches!(what, What::Fault(_) | What::Outage(_)) {
            self.proven |= self.up_since.take().is_some_and(|since| since.elapsed() >= PROVEN);
        }
        match what {
            What::Connected => self.tell_up(),
            What::Resumed { after } => {
                self.up_since = Some(Instant::now());
                tell(format_args!("connected again after {}", Readable(*after)));
            }
            What::Outage(DownReason::Fault(_) | DownReason::Closed) => {}
            What::Outage(reason) => tell(format_args!("outage: {reason}; messages wait, trying again")),
            What::Refused { code, .. } if !self.ever_up && is_final(*code) => {
                return Some(Failure::Refused { server: server.clone(), code: *code, check: self.check });
            }
            What::Refused { code, retry } => {
                let code = code.token();
                let when = if retry.is_zero() { "trying again".into() } else { format!("trying again in {}", Readable(*retry)) };
                tell(format_args!("{server} refused this client: {code}; {when}"));
            }
            What::NotReached { reason, unanswered } => {
                if *reason != self.last_reason {
                    tell(format_args!("cannot reach {server}: {reason}; trying again until Ctrl-C"));
                    if *unanswered {
                        tell(format_args!("  {}", self.unanswered_advice()));
                    }
                }
                self.last_reason.clone_from(reason);
            }
            What::NotHoldline if self.spoken == Spoken::Auto => {
                tell(format_args!("{server} does not speak native Holdline; going over to classic-2020"));
            }
            What::NotHoldline | What::Fault(_) if self.is_something_else() => {
                return Some(Failure::NotHoldline { server: server.clone(), profile: self.spoken.name() });
            }
            What::NotHoldline => tell(format_args!("{server} does not speak Holdline any more; trying again")),
            What::Fault(fault) => tell(format_args!("outage: {server} broke the protocol: {fault}; trying again")),
            What::Session(event) => {
                if let Some(sentence) = log::sentence(event) {
                    tell(format_args!("the server: {sentence}"));
                }
            }
            _ => {}
        }
        None
    }

    /// What to look at where somebody takes the connection and does not answer.
    fn unanswered_advice(&self) -> &'static str {
        if self.check {
            "somebody is there. If it is a Holdline server: a client with --check is understood at its --listen-checked address only"
        } else {
            "somebody is there. If it is a Holdline server: at its --listen-checked address only a client with --check is understood"
        }
    }

    fn tell_up(&mut self) {
        self.up_since = Some(Instant::now());
        if !std::mem::replace(&mut self.ever_up, true) {
            tell(format_args!("connected ({})", self.client.status().profile));
        }
    }

    /// Whether what broke the protocol has never followed it. A classic line has no welcome: it counts as up when anything comes, be
    /// it nonsense.
    fn is_something_else(&self) -> bool {
        !self.ever_up || !self.proven && self.client.status().profile != Profile::Native
    }
}

/// Whether trying again cannot help before somebody changes something.
fn is_final(code: RefusalCode) -> bool {
    !matches!(code, RefusalCode::Busy | RefusalCode::Closing | RefusalCode::DuplicateClient)
}

/// Closes the line, and waits until the server has been told.
async fn goodbye(client: Client) {
    let mut reports = client.reports();
    drop(client);
    // The stream of reports ends with the task behind the client.
    let _ = tokio::time::timeout(GOODBYE, async { while reports.next().await.is_some() {} }).await;
}

/// Says what came of it all.
fn conclude(options: &Options, sent: Sent, undelivered: usize, received: &[Count]) -> ExitCode {
    if undelivered > 0 {
        tell(format_args!(
            "{undelivered} of {} messages were not acknowledged: they are gone, unless they arrived",
            sent.messages
        ));
    } else if options.count.is_some() {
        tell(format_args!("sent {} numbered messages; all were delivered", sent.messages));
    }
    for count in received {
        tell(format_args!("received {count}"));
    }
    let good = undelivered == 0 && sent.unsendable == 0 && received.iter().all(Count::is_clean);
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
