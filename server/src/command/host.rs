//! The server's own application: it reads every client, and does what it was told with the messages.

use super::app::App;
use super::count::{Count, Numbered, new_run};
use super::output::{Line, MessageRecord};
use holdline_server::proto::Server as ServerRole;
use holdline_server::{Connection, Received, Server};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Reads every client that it is told to attend to.
#[derive(Debug)]
pub(super) struct Host {
    server: Server,
    app: App,
    out: mpsc::Sender<Line<ServerRole>>,
    attended: Mutex<HashSet<String>>,
    counts: Mutex<BTreeMap<String, Counted>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The numbered messages of one client.
#[derive(Debug)]
struct Counted {
    count: Count,
    /// As many of them as the last summary knew of.
    told: u64,
}

/// A summary as a program reads it.
#[derive(Serialize)]
struct CountRecord<'c> {
    client: &'c str,
    #[serde(flatten)]
    count: &'c Count,
}

impl Host {
    pub(super) fn new(server: Server, app: App, out: mpsc::Sender<Line<ServerRole>>) -> Self {
        Self {
            server,
            app,
            out,
            attended: Mutex::default(),
            counts: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Reads this client from now on, if nobody does yet.
    pub(super) fn attend(self: &Arc<Self>, connection: Connection) {
        if !lock(&self.attended).insert(connection.id().to_owned()) {
            return;
        }
        if let App::Counter { rate: Some(rate) } = self.app {
            self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(number(connection.clone(), rate)));
        }
        let host = Arc::clone(self);
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(async move {
            while let Ok(received) = connection.recv().await {
                host.handle(&connection, received).await;
            }
        }));
    }

    /// Does with a message what the application is for, prints it, and has it accepted once it is printed.
    async fn handle(&self, connection: &Connection, received: Received) {
        let Received { text, receipt } = received;
        let sent = match &self.app {
            App::Log => Ok(()),
            App::Echo => connection.send(&text).await,
            App::Answer { question, answer } if *question == text => connection.send(answer).await,
            App::Answer { .. } => Ok(()),
            App::Relay { from, to } if from == connection.id() => match self.server.client(to).await {
                Ok(to) => to.send(&text).await,
                Err(closed) => Err(closed.into()),
            },
            App::Relay { .. } => Ok(()),
            App::Counter { .. } => match Numbered::read(&text) {
                Some(numbered) => {
                    self.count(connection.id(), numbered).await;
                    if let Some(receipt) = receipt {
                        connection.accept(receipt);
                    }
                    return;
                }
                None => Ok(()),
            },
        };
        if let Err(error) = sent {
            tracing::warn!("{}: a message could not be passed on: {error}", super::log::Shown(connection.id()));
        }
        let best_effort = receipt.is_none();
        let record = MessageRecord { client: connection.id(), text: &text, best_effort };
        let accept = receipt.map(|receipt| (connection.clone(), receipt));
        self.print(&record, accept).await;
    }

    async fn print(&self, record: &impl Serialize, accept: Option<(Connection, holdline_server::proto::Receipt)>) {
        let Ok(text) = serde_json::to_string(record) else { return };
        // Without a writer the server is about to stop, and the message stays unaccepted.
        let _ = self.out.send(Line { text, accept }).await;
    }

    async fn count(&self, client: &str, numbered: Numbered<'_>) {
        let ended = {
            let mut counts = lock(&self.counts);
            let fresh = || Counted { count: Count::of(numbered.run), told: 0 };
            let counted = counts.entry(client.to_owned()).or_insert_with(fresh);
            let other_run = counted.count.run() != numbered.run;
            let ended = other_run.then(|| std::mem::replace(counted, fresh()));
            counted.count.take(numbered.number);
            ended
        };
        if let Some(Counted { count, .. }) = ended {
            self.print(&CountRecord { client, count: &count }, None).await;
        }
    }

    /// Prints a summary for each client whose numbers have moved.
    pub(super) async fn report_counts(&self) {
        let moved: Vec<(String, Count)> = lock(&self.counts)
            .iter_mut()
            .filter_map(|(client, counted)| {
                let seen = counted.count.received() + counted.count.repeated();
                (std::mem::replace(&mut counted.told, seen) != seen).then(|| (client.clone(), counted.count.clone()))
            })
            .collect();
        for (client, count) in moved {
            self.print(&CountRecord { client: &client, count: &count }, None).await;
        }
    }

    /// Stops reading, and prints the last summaries.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        lock(&self.counts).values_mut().for_each(|counted| counted.told = 0);
        self.report_counts().await;
    }
}

/// Sends numbered messages to a client, for as long as the line exists.
async fn number(connection: Connection, rate: f64) {
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    let run = new_run();
    for number in 1.. {
        ticks.tick().await;
        if connection.send(&Numbered { number, run: &run }.to_string()).await.is_err() {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind it is counts and names: true whatever their holder was doing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
