//! What happens by itself at set times.

use std::time::Duration;

use holdline_sim::proxy::{
    Act, BlackHole, Close, Error, Latency, Options, Outage, ProxySpec,
    Stream::{Downstream, Upstream},
    Toxic, play, run,
};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::bed::{Bed, arrives, passes, rest, silent};

fn outage(at: u64, act: Act, lasts: Option<u64>) -> Outage {
    Outage { at: Duration::from_millis(at), act, lasts: lasts.map(Duration::from_millis), proxy: None }
}

#[tokio::test]
async fn outages_come_and_go_at_their_times() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello").await;
    let hole = Act::Toxic(Toxic::new(Upstream, BlackHole::default().into()).unwrap());
    let plan = [outage(0, hole.clone(), Some(1_500)), outage(2_000, Act::Disconnect(Close::Rst), None)];
    let proxies = bed.proxies().clone();
    let playing = tokio::spawn(async move { play(&proxies, &plan).await });
    while bed.proxies().toxics("line").await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    tokio::io::AsyncWriteExt::write_all(&mut client, b"waits").await.unwrap();
    silent(&mut server).await;
    arrives(&mut server, b"waits").await;
    assert_eq!(rest(&mut client).await, (vec![], true));
    assert_eq!(rest(&mut server).await, (vec![], true));
    playing.await.unwrap().unwrap();
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"the next one lives").await;
}

#[tokio::test]
async fn down_refuses_and_ends() {
    let bed = Bed::new().await;
    let (mut client, _server) = bed.connect().await;
    let plan = [outage(0, Act::Down, Some(1_500))];
    let (proxies, listen) = (bed.proxies().clone(), bed.listen.clone());
    let playing = tokio::spawn(async move { play(&proxies, &plan).await });
    assert_eq!(rest(&mut client).await, (vec![], false));
    assert!(TcpStream::connect(&listen).await.is_err(), "nobody listens");
    playing.await.unwrap().unwrap();
    bed.connect().await;
}

#[tokio::test(start_paused = true)]
async fn outages_of_the_same_kind_may_overlap_and_the_plan_takes_no_longer_than_it_says() {
    let bed = Bed::new().await;
    let late = |latency| Act::Toxic(Toxic::new(Downstream, Latency { latency, jitter: 0 }.into()).unwrap());
    let plan = [outage(1_000, late(1), Some(10_000)), outage(2_000, late(2), Some(3_600_000))];
    let began = Instant::now();
    let proxies = bed.proxies().clone();
    let playing = tokio::spawn(async move { play(&proxies, &plan).await });
    tokio::time::sleep(Duration::from_secs(3)).await;
    let names: Vec<String> = bed.proxies().toxics("line").await.unwrap().iter().map(|toxic| toxic.name().to_owned()).collect();
    assert_eq!(names, ["latency_downstream", "latency_downstream_2"]);
    playing.await.unwrap().unwrap();
    assert_eq!(began.elapsed().as_secs(), 3_602);
    assert_eq!(bed.proxies().toxics("line").await.unwrap(), []);
}

#[tokio::test]
async fn an_outage_of_a_proxy_that_there_is_not_is_an_error() {
    let bed = Bed::new().await;
    let plan = [Outage { proxy: Some("other".into()), ..outage(0, Act::Down, None) }];
    assert!(matches!(play(bed.proxies(), &plan).await, Err(Error::ProxyNotFound)));
}

#[tokio::test]
async fn the_command_says_where_it_listens_and_runs_on() {
    let proxies = vec![ProxySpec::new("line", "127.0.0.1:0", "127.0.0.1:9")];
    let options = Options { api: Some("127.0.0.1:0".into()), proxies, seed: 7, ..Options::default() };
    let mut said = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(1), run(options, &mut said)).await;
    assert!(ended.is_err(), "it runs until it is interrupted");
    let said = String::from_utf8(said).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("line: 127.0.0.1:") && lines[0].ends_with(" -> 127.0.0.1:9"), "{said}");
    assert!(lines[1].starts_with("HTTP API: http://127.0.0.1:"), "{said}");
    assert_eq!(lines[2..], ["seed: 7; Ctrl-C stops"]);
}

#[tokio::test]
async fn an_address_that_is_taken_is_said() {
    let bed = Bed::new().await;
    let taken = ProxySpec::new("line", &bed.listen, "127.0.0.1:9");
    let error = run(Options { api: None, proxies: vec![taken], ..Options::default() }, &mut Vec::new()).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("listen tcp {}: ", bed.listen)), "{error}");
}
