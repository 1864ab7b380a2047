//! Connections that come while something keeps them from the server, and the device of the same id.

use std::io::ErrorKind;
use std::time::Duration;

use holdline_sim::outage::ConnectFails;
use holdline_sim::proxy::{CloneId, Close, NoConnect, Portal, ProxySpec, Stream::Upstream, Toxic, Trigger};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::bed::{Bed, arrives, passes, rest, silent};

impl Bed {
    /// No connection gets to the server.
    async fn nobody_comes(&self) {
        assert!(timeout(Duration::from_millis(150), self.server.accept()).await.is_err(), "the server hears of nobody");
    }
}

#[tokio::test]
async fn refused_connections_are_refused_and_live_ones_live_on() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello").await;
    let name = bed.add(Upstream, NoConnect { how: ConnectFails::Refused }).await;
    let refused = TcpStream::connect(&bed.listen).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    passes(&mut client, &mut server, b"still there").await;
    assert!(bed.proxies().get("line").await.unwrap().enabled);
    bed.remove(&name).await;
    let (mut second, mut second_server) = bed.connect().await;
    passes(&mut second, &mut second_server, b"welcome").await;
    passes(&mut client, &mut server, b"and I").await;
}

#[tokio::test]
async fn a_reset_of_the_proxies_and_a_toxicity_of_nothing_end_a_refusal() {
    let bed = Bed::new().await;
    let refusing = || Toxic::new(Upstream, NoConnect { how: ConnectFails::Refused }.into()).unwrap();
    bed.proxies().add_toxic("line", refusing()).await.unwrap();
    assert!(TcpStream::connect(&bed.listen).await.is_err());
    bed.proxies().reset().await.unwrap();
    bed.connect().await;
    bed.proxies().add_toxic("line", refusing().on_share(0.0)).await.unwrap();
    bed.connect().await;
}

#[tokio::test]
async fn a_proxy_that_is_enabled_while_connections_are_refused_listens_afterwards() {
    let bed = Bed::new().await;
    let name = bed.add(Upstream, NoConnect { how: ConnectFails::Refused }).await;
    for enabled in [false, true] {
        bed.proxies().update("line", &ProxySpec { enabled: Some(enabled), ..ProxySpec::default() }).await.unwrap();
        assert!(TcpStream::connect(&bed.listen).await.is_err());
    }
    bed.remove(&name).await;
    bed.connect().await;
}

#[tokio::test]
async fn an_address_that_was_taken_while_connections_were_refused_is_said_and_tried_again() {
    let bed = Bed::new().await;
    let name = bed.add(Upstream, NoConnect { how: ConnectFails::Refused }).await;
    let thief = tokio::net::TcpListener::bind(&bed.listen).await.unwrap();
    let error = bed.proxies().remove_toxic("line", &name).await.expect_err("the address is taken");
    assert!(error.to_string().starts_with(&format!("listen tcp {}", bed.listen)), "{error}");
    drop(thief);
    bed.proxies().reset().await.unwrap();
    bed.connect().await;
}

#[tokio::test]
async fn silence_keeps_those_who_come_from_the_server_until_it_ends_and_nobody_else() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    let name = bed.add(Upstream, NoConnect { how: ConnectFails::Silent }).await;
    let mut given_up = TcpStream::connect(&bed.listen).await.unwrap();
    given_up.write_all(b"given up").await.unwrap();
    drop(given_up);
    let mut patient = TcpStream::connect(&bed.listen).await.unwrap();
    patient.write_all(b"patient").await.unwrap();
    silent(&mut patient).await;
    bed.nobody_comes().await;
    passes(&mut client, &mut server, b"still there").await;
    bed.remove(&name).await;
    arrives(&mut bed.accept().await, b"patient").await;
}

#[tokio::test]
async fn accepted_then_closed_closes_in_order_and_the_server_hears_nothing() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    bed.add(Upstream, NoConnect { how: ConnectFails::AcceptedThenClosed }).await;
    for _ in 0..3 {
        let mut turned_away = TcpStream::connect(&bed.listen).await.unwrap();
        assert_eq!(rest(&mut turned_away).await, (vec![], false));
    }
    bed.nobody_comes().await;
    passes(&mut client, &mut server, b"still there").await;
}

#[tokio::test]
async fn a_portal_answers_the_first_bytes_with_its_own_page_and_closes() {
    let bed = Bed::new().await;
    let location = "http://hotel.example/?a=1&b=2".to_owned();
    let name = bed.add(Upstream, Portal { location: location.clone() }).await;
    let mut client = TcpStream::connect(&bed.listen).await.unwrap();
    silent(&mut client).await;
    client.write_all(b"HOLD/1 client=a\n").await.unwrap();
    let (page, reset) = rest(&mut client).await;
    let page = String::from_utf8(page).unwrap();
    let (head, body) = page.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 302 Found\r\n") && head.contains(&format!("\r\nLocation: {location}\r\n")), "{page}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())) && body.contains("?a=1&amp;b=2"), "{page}");
    assert!(!reset);
    bed.nobody_comes().await;
    bed.remove(&name).await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"logged in").await;
}

#[tokio::test]
async fn a_clone_says_the_clients_first_line_and_listens_until_it_is_switched_off() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"HOLD/1 client=a boot=7\nD 1 one\n").await;
    bed.nobody_comes().await;
    let name = bed.add(Upstream, CloneId { delay: 0 }).await;
    let mut clone = bed.accept().await;
    arrives(&mut clone, b"HOLD/1 client=a boot=7\n").await;
    // It is told things, and says nothing more.
    clone.write_all(b"HOLD/1 ok\nD 1 for whom?\n").await.unwrap();
    silent(&mut clone).await;
    passes(&mut client, &mut server, b"D 2 two\n").await;
    bed.remove(&name).await;
    assert_eq!(rest(&mut clone).await, (vec![], false));
    passes(&mut client, &mut server, b"D 3 three\n").await;
}

#[tokio::test]
async fn a_clone_outlives_the_connection_that_it_took_over_and_the_next_one_has_its_own() {
    let bed = Bed::new().await;
    bed.add(Upstream, CloneId { delay: 0 }).await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"id a\n").await;
    let mut clone = bed.accept().await;
    arrives(&mut clone, b"id a\n").await;
    drop(server);
    assert_eq!(rest(&mut client).await, (vec![], false));
    drop(client);
    silent(&mut clone).await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"id a again\n").await;
    drop(clone);
    let mut clone = bed.accept().await;
    arrives(&mut clone, b"id a again\n").await;
    bed.proxies().delete("line").await.unwrap();
    assert_eq!(rest(&mut clone).await, (vec![], false));
}

#[tokio::test]
async fn a_clone_waits_for_its_delay_and_a_line_can_let_it_come() {
    let bed = Bed::new().await;
    let clone = Toxic::new(Upstream, CloneId { delay: 300 }.into()).unwrap().on_share(0.0);
    bed.proxies().add_toxic("line", clone).await.unwrap();
    bed.add(Upstream, Trigger { line: "D 2".into(), toxic: "clone_upstream".into(), ..Trigger::default() }).await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"id a\nD 1 one\n").await;
    bed.nobody_comes().await;
    let began = Instant::now();
    passes(&mut client, &mut server, b"D 2 two\n").await;
    arrives(&mut bed.accept().await, b"id a\n").await;
    assert!(began.elapsed() >= Duration::from_millis(290), "{:?}", began.elapsed());
}

#[tokio::test]
async fn connections_that_wait_when_all_are_closed_close_without_the_server_hearing_of_them() {
    let bed = Bed::new().await;
    bed.add(Upstream, NoConnect { how: ConnectFails::Silent }).await;
    let mut waiting = TcpStream::connect(&bed.listen).await.unwrap();
    silent(&mut waiting).await;
    bed.proxies().disconnect("line", Close::Rst).await.unwrap();
    assert_eq!(rest(&mut waiting).await, (vec![], true));
    bed.nobody_comes().await;
}
