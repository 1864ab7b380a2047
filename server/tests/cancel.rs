//! Every future of the public API can be dropped at every poll: nothing is lost, repeated or reordered by that.
//!
//! The streams split and stall at every byte, so that there are many polls to be dropped at.
mod support;

use holdline_server::proto::Role;
use holdline_server::{Client, Connection, Server, ServerConfig, What};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use support::{Fussy, PIPE, builder, device, hello, read, server, soon, wire, wire_of};
use tokio::io::duplex;

/// How many polls a call is given before it is dropped.
const POLLS: std::ops::Range<usize> = 0..4;

/// A call that is not woken for so long is dropped in any case.
const LONG: Duration = Duration::from_secs(10);

/// Polls a future at most so often, each time when it has been woken, and drops it after the last, or when it was not woken for long.
async fn at_most<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    let polled = std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    let patience = if polls == usize::MAX { Duration::from_secs(86_400) } else { LONG };
    tokio::time::timeout(patience, polled).await.unwrap_or(None)
}

/// Makes a call again and again until it gets through: with few polls first, then with more.
async fn impatiently<F: Future>(mut call: impl FnMut() -> F) -> F::Output {
    for polls in POLLS.cycle() {
        if let Some(output) = at_most(polls, call()).await {
            return output;
        }
        // Others have their turn, and time passes if nobody has anything to do.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    unreachable!("the cycle never ends")
}

/// A client of this server over fussy streams; the server's future is dropped after so many polls, for each link more.
fn fussy_client(server: &Server, id: &str, patience: impl Fn(usize) -> usize + Send + 'static) -> Client {
    let server = server.clone();
    let links = AtomicUsize::new(0);
    let client = builder(id).start_with(move || {
        let (near, far) = duplex(PIPE);
        let polls = patience(links.fetch_add(1, Ordering::Relaxed));
        let server = server.clone();
        tokio::spawn(async move { at_most(polls, server.serve(Fussy::new(far))).await });
        async move { Ok(Fussy::new(near)) }
    });
    client.expect("a valid client")
}

async fn pair() -> (Server, Client, Connection) {
    let server = server(ServerConfig::default());
    let client = fussy_client(&server, "dev", |_| usize::MAX);
    let line = soon(server.client("dev")).await.expect("the server lives");
    (server, client, line)
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("message {n}")).collect()
}

#[tokio::test(start_paused = true)]
async fn readline_takes_no_message_that_it_does_not_return() {
    let (_server, client, line) = pair().await;
    for text in texts(50) {
        soon(client.send(&text)).await.expect("there is room");
    }
    for text in texts(50) {
        assert_eq!(soon(impatiently(|| line.readline())).await, Ok(text));
    }
    soon(client.flush()).await.expect("the client lives");
}

#[tokio::test(start_paused = true)]
async fn recv_takes_no_message_that_it_does_not_return() {
    let (_server, client, line) = pair().await;
    for text in texts(50) {
        soon(client.send(&text)).await.expect("there is room");
    }
    for text in texts(50) {
        let received = soon(impatiently(|| line.recv())).await.expect("the server lives");
        assert_eq!(received.text, text);
        assert!(line.accept(received.receipt.expect("it is reliable")));
    }
    soon(client.flush()).await.expect("the client lives");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_dropped_has_been_sent_once_or_not_at_all() {
    let (_server, client, line) = pair().await;
    let mut begun = Vec::new();
    for (n, polls) in POLLS.cycle().take(60).enumerate() {
        let text = format!("message {n}");
        // The first poll queues it: there is room.
        if polls > 0 {
            begun.push(text.clone());
        }
        let quick = tokio::time::timeout(Duration::from_millis(1), at_most(polls, client.write(&text)));
        assert_eq!(quick.await.unwrap_or(None), None, "nobody reads yet");
    }
    begun.push("the last".into());
    let (last, got) = soon(async { tokio::join!(client.write("the last"), read(&line, begun.len())) }).await;
    assert_eq!((last, got), (Ok(()), begun));
    assert_eq!(line.status().unread, 0);
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_dropped_while_it_waits_for_room_has_sent_nothing() {
    let server = server(ServerConfig::default());
    let client = {
        let server = server.clone();
        builder("dev").outbox(2, 1_000).start_with(move || {
            let (near, far) = duplex(PIPE);
            let server = server.clone();
            tokio::spawn(async move { server.serve(Fussy::new(far)).await });
            async move { Ok(Fussy::new(near)) }
        })
    };
    let client = client.expect("a valid client");
    // A slow reader: sometimes there is room and sometimes there is none.
    let got = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&got);
    tokio::spawn(async move {
        let line = server.client("dev").await.expect("the server lives");
        while let Ok(text) = line.readline().await {
            taken.lock().expect("no panic").push(text);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    let mut sent = Vec::new();
    for (n, polls) in POLLS.cycle().take(200).enumerate() {
        let text = format!("message {n}");
        let call = async {
            match n % 2 {
                0 => client.send(&text).await,
                _ => client.send_latest(u8::try_from(n).expect("200 messages"), &text).await,
            }
        };
        let quick = tokio::time::timeout(Duration::from_millis(1), at_most(polls, call));
        if let Some(result) = quick.await.unwrap_or(None) {
            result.expect("it fits");
            sent.push(text.clone());
        }
    }
    assert!((20..180).contains(&sent.len()), "{} were sent", sent.len());
    sent.push("the last".into());
    soon(client.write("the last")).await.expect("the client lives");
    assert_eq!(*got.lock().expect("no panic"), sent);
}

#[tokio::test(start_paused = true)]
async fn flush_and_wait_up_can_be_asked_again() {
    let (_server, client, line) = pair().await;
    soon(impatiently(|| client.wait_up())).await.expect("the client lives");
    soon(impatiently(|| line.wait_up())).await.expect("the server lives");
    for text in texts(10) {
        client.send(&text).await.expect("there is room");
    }
    let (flushed, got) = soon(async { tokio::join!(impatiently(|| client.flush()), read(&line, 10)) }).await;
    assert_eq!((flushed, got), (Ok(()), texts(10)));
    assert_eq!(client.status().unacked, 0);
}

#[tokio::test(start_paused = true)]
async fn client_and_wait_all_can_be_asked_again() {
    let server = server(ServerConfig::default());
    let asked = server.clone();
    let late = tokio::spawn(async move { impatiently(|| asked.client("b")).await.map(|line| line.id().to_owned()) });
    let asked = server.clone();
    let all = tokio::spawn(async move { impatiently(|| asked.wait_all(Some("me"), &["a", "me", "b"])).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let _a = device(&server, "a").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!late.is_finished() && !all.is_finished());
    let _b = device(&server, "b").await;
    assert_eq!(soon(late).await.expect("no panic").as_deref(), Ok("b"));
    let all = soon(all).await.expect("no panic").expect("the server lives");
    assert_eq!(all.iter().map(Connection::id).collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn one_call_that_is_dropped_takes_nothing_from_another() {
    let server = server(ServerConfig::default());
    // Both wait for the same session, and for the same message on it; one of each gives up.
    let (gives_up, stays) = (server.clone(), server.clone());
    let stays = tokio::spawn(async move {
        let line = stays.client("dev").await.expect("the server lives");
        line.readline().await
    });
    assert!(at_most(1, gives_up.client("dev")).await.is_none());
    let mut dev = device(&server, "dev").await;
    let line = server.client("dev").await.expect("the server lives");
    tokio::task::yield_now().await;
    assert!(at_most(1, line.readline()).await.is_none());
    dev.says("M1 x").await;
    assert_eq!(soon(stays).await.expect("no panic").as_deref(), Ok("x"));
}

#[tokio::test(start_paused = true)]
async fn reports_are_not_lost() {
    let server = server(ServerConfig::default());
    let mut reports = server.reports();
    for id in ["a", "b", "c"] {
        drop(device(&server, id).await);
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut connected = Vec::new();
    let mut polls = POLLS.cycle();
    while connected.len() < 3 {
        if let Some(report) = at_most(polls.next().unwrap_or(1), reports.next()).await {
            let report = report.expect("the server lives");
            if report.what == What::Connected {
                connected.push(report.client.to_string());
            }
        }
    }
    assert_eq!(connected, ["a", "b", "c"]);
}

/// As `read`, for as long as it takes.
async fn reads<R: Role>(line: &Connection<R>, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        texts.push(line.readline().await.expect("the line is open"));
    }
    texts
}

/// Serving a link may end at any poll: the session goes on with the next one.
#[tokio::test(start_paused = true)]
async fn serving_can_be_dropped_at_every_poll() {
    let server = server(ServerConfig::default());
    let client = fussy_client(&server, "dev", |link| link * 37 + link % 7);
    let count = 60;
    let up = async {
        for text in texts(count) {
            client.write(&text).await.expect("the client lives");
        }
    };
    let line = async { server.client("dev").await.expect("the server lives") };
    let down = async {
        let line = line.await;
        for text in texts(count) {
            line.send(&text).await.expect("the server lives");
        }
        reads(&line, count).await
    };
    let both = async { tokio::join!(up, down, reads(&client, count)) };
    let ((), at_server, at_client) =
        tokio::time::timeout(Duration::from_secs(7_200), both).await.expect("each link serves longer than the one before");
    assert_eq!(at_server, texts(count));
    assert_eq!(at_client, texts(count));
    assert!(client.connects() > 3, "{} links", client.connects());
    let line = server.get("dev").expect("it has made contact");
    assert_eq!((line.status().unread, client.status().unread), (0, 0));
}

// HL-0141
#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_serves_is_down() {
    let server = server(ServerConfig::default());
    let mut reports = server.reports();
    let (near, far) = duplex(PIPE);
    let mut dev = support::Hand::new(near);
    let serving = Arc::new(tokio::sync::Notify::new());
    let (stop, serve) = (Arc::clone(&serving), server.clone());
    tokio::spawn(async move {
        tokio::select! { () = serve.serve(far) => {}, () = stop.notified() => {} }
    });
    support::greet(&mut dev, &hello("dev", "")).await;
    let line = server.client("dev").await.expect("the server lives");
    line.wait_up().await.expect("the server lives");
    serving.notify_one();
    assert_eq!(dev.hears().await, None);
    assert!(!line.status().up);
    support::report(&mut reports, |what| matches!(what, What::Outage(_))).await;
    // It is nobody to take over from.
    for boot in 2..12 {
        let mut dev = wire(&server);
        support::greet(&mut dev, &hello("dev", &format!("boot={boot}"))).await;
        drop(dev);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

// HL-0127
#[tokio::test(start_paused = true)]
async fn shutdown_can_be_dropped_and_called_again() {
    for polls in 0..12 {
        let server = server(ServerConfig::default());
        let mut devices = Vec::new();
        for n in 0..3 {
            devices.push(device(&server, &format!("dev-{n}")).await);
        }
        server.get("dev-0").expect("it has made contact").send("x").await.expect("there is room");
        let shutdown = || server.shutdown(Duration::from_secs(1), Duration::from_secs(1));
        let first = at_most(polls, shutdown()).await;
        // From the first poll on nobody new comes in.
        if polls > 0 {
            let mut late = wire_of(&server, PIPE);
            late.says(&hello("late", "")).await;
            let refused = late.hears().await;
            assert!(refused.as_deref().is_none_or(|line| line.starts_with("HOLD/1 no code=closing retry=")), "{refused:?}");
        }
        let left = match first {
            Some(left) => left,
            None => soon(shutdown()).await,
        };
        assert_eq!(left, 1, "after {polls} polls");
        for mut device in devices {
            let last = device.hears_all().await.pop();
            assert!(last.as_deref().is_some_and(|line| line.starts_with("Bclosing retry=")), "{last:?} after {polls} polls");
        }
    }
}
