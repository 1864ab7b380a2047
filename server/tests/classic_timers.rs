//! The rhythm of the classic profiles at both ends, in paused time (SPEC.md, 3.3, 4.3 and 4.4).
mod support;

use holdline_server::proto::{Client, Config, DownReason, Server, classic::Flavour};
use holdline_server::{Profile, What};
use support::{Lines, builder, calling, report, since, sleep};
use tokio::time::Instant;

const V2019: Profile = Profile::Classic(Flavour::V2019);
const V2020: Profile = Profile::Classic(Flavour::V2020);
const T1500: Config = Config::new().timeout_ms(1_500);
const T2000: Config = Config::new();

fn lines(heard: &[(u64, String)]) -> Vec<(u64, &str)> {
    heard.iter().map(|(at, line)| (*at, line.as_str())).collect()
}

// HL-0026, HL-0056
#[tokio::test(start_paused = true)]
async fn a_2019_client_says_its_first_keepalive_after_a_third_and_no_message_before_it() {
    let mut up = Client::classic(V2019, T1500).await;
    up.line.send("x").await.expect("there is room");
    up.hand.says("").await;
    let heard = up.hand.listens_alive(3_200).await;
    assert_eq!(lines(&heard), [(500, ""), (500, "00x"), (1_500, ""), (2_500, "")]);
}

// HL-0057
#[tokio::test(start_paused = true)]
async fn a_2019_server_is_silent_for_200_ms_and_then_says_a_keepalive_each_half() {
    let mut up = Server::classic(V2019, T1500).await;
    up.line.send("x").await.expect("there is room");
    let heard = up.hand.listens_alive(1_800).await;
    assert_eq!(lines(&heard), [(200, ""), (200, "00x"), (950, ""), (1_700, "")]);
}

// HL-0048, HL-0050
#[tokio::test(start_paused = true)]
async fn a_2020_client_says_a_keepalive_after_a_quarter_without_a_line_and_no_message_before_it_hears() {
    let mut up = Client::classic(V2020, T2000).await;
    up.line.send("x").await.expect("there is room");
    let heard = up.hand.listens(1_200).await;
    assert_eq!(lines(&heard), [(500, ""), (1_000, "")]);
    up.hand.says("").await;
    assert_eq!(up.hand.hears_now().await.as_deref(), Some("00x"));
    up.hand.says("00").await;
    let heard = up.hand.listens_alive(600).await;
    assert_eq!(lines(&heard), [(500, "")], "what is said postpones it");
}

// HL-0049, HL-0051
#[tokio::test(start_paused = true)]
async fn a_2020_server_says_a_keepalive_at_once_and_its_messages_200_ms_after_the_first_byte() {
    let mut up = Server::classic(V2020, T2000).await;
    up.line.send("x").await.expect("there is room");
    let heard = up.hand.listens(700).await;
    assert_eq!(lines(&heard), [(0, ""), (500, "")]);
    up.hand.writes("\n").await;
    let heard = up.hand.listens(900).await;
    assert_eq!(lines(&heard), [(200, "00x"), (300, ""), (800, "")], "always, whatever else is said");
}

// HL-0052, HL-0104
#[tokio::test(start_paused = true)]
async fn a_2020_client_gives_the_first_line_twice_the_timeout() {
    let mut up = Client::classic(V2020, T2000).await;
    let start = Instant::now();
    while up.hand.hears_any().await.is_some() {}
    assert_eq!(since(start), 4_000);
    let mut up = Client::classic(V2020, T2000).await;
    sleep(1_000).await;
    up.hand.says("").await;
    let start = Instant::now();
    while up.hand.hears_any().await.is_some() {}
    assert_eq!(since(start), 2_000);
}

async fn is_given_up_after<R: Lines>(profile: Profile, config: Config, ms: u64) {
    let mut up = R::classic(profile, config).await;
    up.hand.says("").await;
    let start = Instant::now();
    while up.hand.hears_any().await.is_some() {}
    assert_eq!(since(start), ms, "{profile}");
    let outage = report(&mut up.reports, |what| matches!(what, What::Outage(_))).await;
    assert_eq!(outage.what, What::Outage(DownReason::Outage));
}

// HL-0104
#[tokio::test(start_paused = true)]
async fn silence_for_the_whole_timeout_is_an_outage_in_every_part() {
    is_given_up_after::<Client>(V2019, T1500, 1_500).await;
    is_given_up_after::<Server>(V2019, T1500, 1_500).await;
    is_given_up_after::<Client>(V2020, T2000, 2_000).await;
    is_given_up_after::<Server>(V2020, T2000, 2_000).await;
}

// HL-0045, HL-0085
#[tokio::test(start_paused = true)]
async fn a_2020_message_is_repeated_after_each_timeout_until_it_is_acked() {
    let mut up = Server::classic(V2020, T2000).await;
    up.hand.says("").await;
    let (line, start) = (up.line.clone(), Instant::now());
    let write = tokio::spawn(async move { line.write("x").await.map(|()| since(start)) });
    let heard = up.hand.listens_alive(4_500).await;
    let said: Vec<_> = lines(&heard).into_iter().filter(|(_, line)| !line.is_empty()).collect();
    assert_eq!(said, [(200, "00x"), (2_200, "00x"), (4_200, "00x")]);
    assert!(!write.is_finished());
    up.hand.says("00").await;
    assert_eq!(write.await.expect("no panic"), Ok(4_500));
}

// HL-0054, HL-0085
#[tokio::test(start_paused = true)]
async fn a_2019_message_counts_as_delivered_after_a_timeout_with_a_sign_of_life_in_its_second_half() {
    let mut up = Server::classic(V2019, T1500).await;
    up.hand.says("").await;
    let (line, start) = (up.line.clone(), Instant::now());
    let write = tokio::spawn(async move { line.write("x").await.map(|()| since(start)) });
    let heard = up.hand.listens_alive(2_000).await;
    assert!(heard.contains(&(200, "00x".into())), "{heard:?}");
    assert_eq!(write.await.expect("no panic"), Ok(1_700));
}

// HL-0154
#[tokio::test(start_paused = true)]
async fn a_classic_line_may_take_four_timeouts() {
    let mut up = Server::classic(V2020, T2000).await;
    let start = Instant::now();
    while up.line.status().up {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut up.hand.stream, b"0").await;
        sleep(10).await;
    }
    assert!((8_000..=8_010).contains(&since(start)), "{} ms", since(start));
    assert_eq!(up.hand.hears_all().await, [""; 0], "nothing is said to a classic peer");
}

// HL-0139
#[tokio::test(start_paused = true)]
async fn a_classic_client_keeps_quiet_for_two_timeouts_after_an_outage() {
    for (profile, config, quiet) in [(V2019, T1500, 3_000), (V2020, T2000, 4_000)] {
        let (_client, mut calls) = calling(builder("dev").session(config).profile(profile));
        let mut hand = calls.next().await;
        hand.says("").await;
        while hand.hears_any().await.is_some() {}
        let start = Instant::now();
        calls.next().await;
        assert!((quiet..=quiet + 500).contains(&since(start)), "{profile}: {} ms", since(start));
    }
}
