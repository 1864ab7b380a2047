//! Lines between a real server and real clients over loopback.

use holdline_server::{Client, Profile, Server, ServerConfig, What, proto::classic::Flavour};
use std::time::Duration;

async fn server() -> (Server, String) {
    let server = Server::bind("127.0.0.1:0", ServerConfig::default()).await.expect("a free port");
    let address = server.local_addr().expect("it listens").to_string();
    (server, address)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("this takes milliseconds, not 20 s")
}

#[tokio::test]
async fn messages_cross_in_both_directions_and_go_on_after_a_cut() {
    let (server, address) = server().await;
    let client = Client::builder("door-1", &address).start().expect("a valid client");
    let door = soon(server.client("door-1")).await.expect("the server lives");
    for round in 0..20 {
        let text = format!("message {round}");
        let (up, down, at_door, at_client) =
            soon(async { tokio::join!(client.write(&text), door.write(&text), door.readline(), client.readline()) }).await;
        assert_eq!((up, down), (Ok(()), Ok(())));
        assert_eq!((at_door.as_ref(), at_client.as_ref()), (Ok(&text), Ok(&text)));
        if round % 5 == 4 {
            door.drop_link();
        }
    }
    assert!(door.connects() >= 4, "{} links", door.connects());
}

#[tokio::test]
async fn classic_clients_are_served_on_the_same_port() {
    let (server, address) = server().await;
    let profile = Profile::Classic(Flavour::V2020);
    let client = Client::builder("old", &address).profile(profile).start().expect("a valid client");
    let old = soon(server.client("old")).await.expect("the server lives");
    soon(async { tokio::try_join!(client.send("up"), old.send("down")) }).await.expect("there is room");
    assert_eq!(soon(old.readline()).await.as_deref(), Ok("up"));
    assert_eq!(soon(client.readline()).await.as_deref(), Ok("down"));
    soon(client.flush()).await.expect("acknowledged");
    soon(old.flush()).await.expect("acknowledged");
    assert_eq!(old.status().profile, profile);
}

#[tokio::test]
async fn reports_alternate() {
    let (server, address) = server().await;
    let mut reports = server.reports();
    let client = Client::builder("a", &address).start().expect("a valid client");
    let line = soon(server.client("a")).await.expect("the server lives");
    soon(line.wait_up()).await.expect("the server lives");
    line.drop_link();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(soon(reports.next()).await.expect("the server lives").what);
    }
    assert!(matches!(seen[..], [What::Connected, What::Outage(_), What::Resumed { .. }]), "{seen:?}");
    drop(client);
}
