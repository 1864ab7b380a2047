//! Drives the proxy with `toxiproxy_rust`; see ../README.md.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use toxiproxy_rust::client::Client;
use toxiproxy_rust::proxy::{Proxy, ProxyPack};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (api, upstream) = (arguments.next().expect("the API's address"), arguments.next().expect("an echo server's address"));
    let client = Client::new(api);
    assert!(client.is_running());
    assert!(client.version().unwrap().contains("2.12.0"));
    assert!(client.all().unwrap().is_empty());

    let pack = |name: &str| ProxyPack::new(name.into(), "127.0.0.1:0".into(), upstream.clone());
    let made = client.populate(vec![pack("echo"), pack("second")]).unwrap();
    assert_eq!(made.iter().map(|proxy| proxy.proxy_pack.name.as_str()).collect::<Vec<_>>(), ["echo", "second"]);
    assert_eq!(client.all().unwrap().len(), 2);
    let proxy = client.find_proxy("echo").unwrap();
    assert!(client.find_proxy("nothing").is_err());
    assert!(round_trip(&proxy).unwrap() < ms(900));

    let latency = proxy.with_latency("downstream".into(), 1_000, 0, 1.0);
    latency.apply(|| assert!(round_trip(&proxy).unwrap() >= ms(990))).unwrap();
    assert!(proxy.toxics().unwrap().is_empty());
    assert!(round_trip(&proxy).unwrap() < ms(900));

    proxy.with_bandwidth("upstream".into(), 1, 1.0).with_slicer("downstream".into(), 2, 1, 0, 0.5).with_slow_close(
        "upstream".into(),
        5,
        0.8,
    );
    let toxics = proxy.toxics().unwrap();
    let names: Vec<&str> = toxics.iter().map(|toxic| toxic.name.as_str()).collect();
    assert_eq!(names, ["bandwidth_upstream", "slow_close_upstream", "slicer_downstream"]);
    assert!((toxics[1].toxicity - 0.8).abs() < 1e-6);
    assert_eq!(toxics[2].attributes["average_size"], 2);
    assert!(round_trip(&proxy).unwrap() >= ms(3), "4 bytes at a byte a millisecond");
    proxy.delete_all_toxics().unwrap();

    proxy
        .with_limit_data("downstream".into(), 2, 1.0)
        .apply(|| assert_eq!(round_trip(&proxy).unwrap_err(), ErrorKind::UnexpectedEof))
        .unwrap();
    proxy.with_timeout("upstream".into(), 100, 1.0);
    assert_eq!(round_trip(&proxy).unwrap_err(), ErrorKind::UnexpectedEof);
    client.reset().unwrap();
    assert!(round_trip(&proxy).unwrap() < ms(900));

    proxy.with_down(|| assert_eq!(round_trip(&proxy).unwrap_err(), ErrorKind::ConnectionRefused)).unwrap();
    proxy.disable().unwrap();
    assert!(!client.find_proxy("echo").unwrap().proxy_pack.enabled);
    let proxy = client.find_and_reset_proxy("echo").unwrap();
    assert!(round_trip(&proxy).unwrap() < ms(900));

    for proxy in client.all().unwrap().values() {
        proxy.delete().unwrap();
    }
    assert!(client.all().unwrap().is_empty());
}

fn round_trip(proxy: &Proxy) -> Result<Duration, ErrorKind> {
    let mut socket = TcpStream::connect(&proxy.proxy_pack.listen).map_err(|error| error.kind())?;
    socket.set_read_timeout(Some(ms(10_000))).unwrap();
    let began = Instant::now();
    let mut echo = [0; 4];
    socket.write_all(b"ping").and_then(|()| socket.read_exact(&mut echo)).map_err(|error| error.kind())?;
    assert_eq!(&echo, b"ping");
    Ok(began.elapsed())
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
