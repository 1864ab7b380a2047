//! Stories of the simulator, played between two real ends.

use holdline_sim::live;
use holdline_sim::proxy::play;
use holdline_sim::scenario::Scenario;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::bed::{Bed, arrives, passes, rest, silent};

impl Bed {
    /// Begins a story of one outage, and returns when the outage has begun.
    async fn story(&self, outage: &str) -> JoinHandle<()> {
        let text = format!("name = 'x'\nabout = ''\nfor_ms = 90000\n[[outage]]\nat_ms = 0\n{outage}\n");
        let plan = live::plan(&Scenario::parse(&text).unwrap()).unwrap();
        let first = plan[0].at;
        assert!(first.is_zero());
        let proxies = self.proxies().clone();
        let playing = tokio::spawn(async move { play(&proxies, &plan).await.unwrap() });
        // On a runtime of one thread, what is due at once is done before this returns from a few turns.
        while self.proxies().toxics("line").await.unwrap().is_empty() && !playing.is_finished() {
            tokio::task::yield_now().await;
        }
        playing
    }
}

#[tokio::test]
async fn after_a_black_hole_that_never_ends_well_the_connections_are_dead_and_nobody_is_told() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello\n").await;
    bed.story("for_ms = 200\ndo = 'black-hole'\nthen = 'never'").await.await.unwrap();
    client.write_all(b"are you there?\n").await.unwrap();
    server.write_all(b"and you?\n").await.unwrap();
    silent(&mut server).await;
    silent(&mut client).await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello again\n").await;
}

#[tokio::test]
async fn after_roaming_the_old_connection_lives_on_at_the_server_beside_the_new_one() {
    let bed = Bed::new().await;
    let (mut client, mut stale) = bed.connect().await;
    passes(&mut client, &mut stale, b"hello\n").await;
    let playing = bed.story("for_ms = 300\ndo = 'roam'").await;
    client.write_all(b"into the gap\n").await.unwrap();
    silent(&mut stale).await;
    playing.await.unwrap();
    assert_eq!(rest(&mut client).await, (vec![], true));
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello again\n").await;
    silent(&mut stale).await;
    stale.write_all(b"to nobody\n").await.unwrap();
    silent(&mut stale).await;
}

#[tokio::test]
async fn a_client_that_came_in_a_gap_is_reset_and_the_server_never_hears_of_it() {
    let bed = Bed::new().await;
    let playing = bed.story("for_ms = 500\ndo = 'ap-reboot'").await;
    let mut early = TcpStream::connect(&bed.listen).await.unwrap();
    early.write_all(b"too early\n").await.unwrap();
    silent(&mut early).await;
    playing.await.unwrap();
    assert_eq!(rest(&mut early).await, (vec![], true));
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello again\n").await;
}

#[tokio::test]
async fn a_server_that_stops_ends_as_it_says_and_is_there_again() {
    for (how, ends) in [("graceful", Some(false)), ("killed", Some(true)), ("host-lost", None)] {
        let bed = Bed::new().await;
        let (mut client, mut server) = bed.connect().await;
        passes(&mut client, &mut server, b"hello\n").await;
        let playing = bed.story(&format!("for_ms = 600\ndo = 'server-stop'\nhow = '{how}'")).await;
        assert!(TcpStream::connect(&bed.listen).await.is_err(), "nobody listens");
        match ends {
            Some(reset) => assert_eq!(rest(&mut client).await, (vec![], reset), "{how}"),
            None => silent(&mut client).await,
        }
        playing.await.unwrap();
        let (mut client, mut server) = bed.connect().await;
        passes(&mut client, &mut server, b"hello again\n").await;
    }
}

#[tokio::test]
async fn a_story_of_refused_connections_leaves_those_that_there_are() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    let playing = bed.story("for_ms = 400\ndo = 'no-connect'\nhow = 'refused'").await;
    assert!(TcpStream::connect(&bed.listen).await.is_err(), "nobody listens");
    passes(&mut client, &mut server, b"still there\n").await;
    playing.await.unwrap();
    bed.connect().await;
}

#[tokio::test]
async fn a_story_of_a_clone_lets_it_come() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"id a\n").await;
    let playing = bed.story("for_ms = 3000\ndo = 'clone'").await;
    let mut clone = bed.accept().await;
    arrives(&mut clone, b"id a\n").await;
    playing.await.unwrap();
    assert_eq!(rest(&mut clone).await, (vec![], false));
}
