//! The HTTP API as bytes: what Toxiproxy answers, status and body.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bed::{Bed, passes};

impl Bed {
    /// The status and the body of the answer.
    async fn ask(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> (u16, Value) {
        let body = body.as_ref();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        let answer = self.say(&[head.as_bytes(), body].concat()).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status").parse().unwrap();
        assert_eq!(head.contains("content-type: application/json"), status != 204, "{head}");
        (status, if body.is_empty() { Value::Null } else { serde_json::from_str(body).unwrap() })
    }

    async fn say(&self, request: &[u8]) -> String {
        let mut socket = TcpStream::connect(self.running.api().unwrap()).await.unwrap();
        socket.write_all(request).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn refuses(&self, method: &str, path: &str, body: impl AsRef<[u8]>, status: u16, error: &str) {
        let body = body.as_ref();
        let (got, answer) = self.ask(method, path, body).await;
        let about = format!("{method} {path} {}: {answer}", String::from_utf8_lossy(body));
        assert_eq!((got, &answer["status"]), (status, &json!(status)), "{about}");
        assert!(answer["error"].as_str().unwrap().contains(error), "{about}");
    }
}

#[tokio::test]
async fn proxies_are_made_shown_changed_and_deleted() {
    let bed = Bed::new().await;
    let upstream = bed.server.local_addr().unwrap().to_string();
    let (status, made) =
        bed.ask("POST", "/proxies", json!({"name": "a/b", "upstream": upstream, "listen": "localhost:0"}).to_string()).await;
    let listen = made["listen"].as_str().unwrap().to_owned();
    assert!(listen.starts_with("127.0.0.1:") && !listen.ends_with(":0"), "{listen}");
    let expected = json!({"name": "a/b", "listen": listen, "upstream": upstream, "enabled": true, "toxics": []});
    assert_eq!((status, &made), (201, &expected));
    assert_eq!(bed.ask("GET", "/proxies/a%2Fb", "").await, (200, expected.clone()));
    let (status, all) = bed.ask("GET", "/proxies", "").await;
    assert_eq!((status, &all["a/b"], all.as_object().unwrap().len()), (200, &expected, 2));

    let (status, off) = bed.ask("PATCH", "/proxies/a%2Fb", r#"{"enabled": false}"#).await;
    assert_eq!((status, &off["enabled"], &off["listen"]), (200, &json!(false), &json!(listen)));
    assert!(TcpStream::connect(&listen).await.is_err());
    let (status, on) = bed.ask("POST", "/proxies/a%2Fb", r#"{"enabled": true}"#).await;
    assert_eq!((status, on), (200, expected));
    TcpStream::connect(&listen).await.unwrap();

    assert_eq!(bed.ask("DELETE", "/proxies/a%2Fb", "").await, (204, Value::Null));
    bed.refuses("DELETE", "/proxies/a%2Fb", "", 404, "proxy not found").await;
}

#[tokio::test]
async fn a_new_upstream_drops_connections_and_the_old_one_does_not() {
    let bed = Bed::new().await;
    let (mut client, mut server) = bed.connect().await;
    passes(&mut client, &mut server, b"hello").await;
    let same = json!({"listen": bed.listen, "upstream": bed.server.local_addr().unwrap().to_string()});
    bed.ask("POST", "/proxies/line", same.to_string()).await;
    passes(&mut client, &mut server, b"still there").await;
    let (_, changed) = bed.ask("POST", "/proxies/line", r#"{"upstream": "127.0.0.1:9"}"#).await;
    assert_eq!(
        (&changed["upstream"], &changed["listen"], &changed["enabled"]),
        (&json!("127.0.0.1:9"), &json!(bed.listen), &json!(true))
    );
    assert_eq!(crate::bed::rest(&mut client).await, (vec![], false));
}

#[tokio::test]
async fn toxics_are_made_shown_changed_and_removed() {
    let bed = Bed::new().await;
    let path = "/proxies/line/toxics";
    let (status, made) = bed.ask("POST", path, r#"{"type": "latency", "attributes": {"latency": 5}}"#).await;
    let expected = json!({"name": "latency_downstream", "type": "latency", "stream": "downstream", "toxicity": 1.0,
        "attributes": {"latency": 5, "jitter": 0}});
    assert_eq!((status, &made), (200, &expected));
    let second =
        r#"{"name": "hole", "type": "black_hole", "stream": "upstream", "toxicity": 0.5, "attributes": {"one_way": true}}"#;
    let (_, second) = bed.ask("POST", path, second).await;
    assert_eq!(second["attributes"], json!({"one_way": true}));
    assert_eq!(bed.ask("GET", path, "").await, (200, json!([second, expected])));
    assert_eq!(bed.ask("GET", "/proxies/line", "").await.1["toxics"], json!([second, expected]));
    assert_eq!(bed.ask("GET", "/proxies/line/toxics/hole", "").await, (200, second));

    let name = "/proxies/line/toxics/latency_downstream";
    let (status, changed) = bed.ask("PATCH", name, r#"{"attributes": {"jitter": 3}}"#).await;
    assert_eq!((status, &changed["attributes"], &changed["toxicity"]), (200, &json!({"latency": 5, "jitter": 3}), &json!(1.0)));
    let (_, changed) = bed.ask("POST", name, r#"{"toxicity": 0.25}"#).await;
    assert_eq!((&changed["attributes"]["latency"], &changed["toxicity"]), (&json!(5), &json!(0.25)));
    assert_eq!(bed.ask("DELETE", name, "").await, (204, Value::Null));
    bed.refuses("DELETE", name, "", 404, "toxic not found").await;
    bed.refuses("GET", name, "", 404, "toxic not found").await;

    bed.ask("POST", "/proxies/line", r#"{"enabled": false}"#).await;
    assert_eq!(bed.ask("POST", "/reset", "").await, (204, Value::Null));
    let (_, line) = bed.ask("GET", "/proxies/line", "").await;
    assert_eq!((&line["enabled"], &line["toxics"]), (&json!(true), &json!([])));
}

#[tokio::test]
async fn populate_makes_what_is_missing_and_leaves_what_fits() {
    let bed = Bed::new().await;
    let upstream = bed.server.local_addr().unwrap().to_string();
    bed.ask("POST", "/proxies/line/toxics", r#"{"type": "latency"}"#).await;
    let list = json!([
        {"name": "line", "listen": bed.listen, "upstream": upstream},
        {"name": "off", "listen": "127.0.0.1:0", "upstream": upstream, "enabled": false},
    ]);
    let (status, made) = bed.ask("POST", "/populate", list.to_string()).await;
    assert_eq!(status, 201);
    assert_eq!(made["proxies"][0]["toxics"][0]["name"], "latency_downstream");
    assert_eq!((&made["proxies"][1]["enabled"], &made["proxies"][1]["listen"]), (&json!(false), &json!("127.0.0.1:0")));

    let elsewhere = json!([{"name": "line", "listen": "127.0.0.1:0", "upstream": upstream}]);
    let (_, made) = bed.ask("POST", "/populate", elsewhere.to_string()).await;
    assert_eq!(made["proxies"][0]["toxics"], json!([]), "it was replaced");

    let (status, failed) = bed.ask("POST", "/populate", r#"[{"name": "x", "upstream": "y:1"}, {"upstream": "y:1"}]"#).await;
    let error = "missing required field: name at proxy 2";
    assert_eq!((status, failed), (400, json!({"error": error, "status": 400, "proxies": []})));
    let half = json!([
        {"name": "good", "listen": "127.0.0.1:0", "upstream": upstream},
        {"name": "bad", "listen": "local373", "upstream": upstream},
        {"name": "never", "listen": "127.0.0.1:0", "upstream": upstream},
    ]);
    let (status, failed) = bed.ask("POST", "/populate", half.to_string()).await;
    assert_eq!((status, &failed["proxies"][0]["name"], failed["proxies"].as_array().unwrap().len()), (500, &json!("good"), 1));
    bed.refuses("GET", "/proxies/never", "", 404, "proxy not found").await;
    bed.refuses("POST", "/populate", "{}", 400, "bad request body").await;
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_in_toxiproxys_words() {
    let bed = Bed::new().await;
    let toxics = "/proxies/line/toxics";
    let taken = json!({"name": "other", "listen": bed.listen, "upstream": "y:1"}).to_string();
    bed.ask("POST", toxics, r#"{"type": "timeout"}"#).await;
    for (method, path, body, status, error) in [
        ("POST", "/proxies", "{}", 400, "missing required field: name"),
        ("POST", "/proxies", r#"{"name": "x"}"#, 400, "missing required field: upstream"),
        ("POST", "/proxies", "nonsense", 400, "bad request body: expected ident at line 1 column 2"),
        ("POST", "/proxies", "", 400, "bad request body: EOF"),
        ("POST", "/proxies", r#"{"name": 1}"#, 400, "bad request body: invalid type: integer `1`"),
        ("POST", "/proxies", r#"{"name": "line", "upstream": "y:1"}"#, 409, "proxy already exists"),
        ("POST", "/proxies", &taken, 500, "listen tcp 127.0.0.1:"),
        ("POST", "/proxies", r#"{"name": "x", "upstream": "y:1", "listen": "999.9.9.9:77777"}"#, 500, "listen tcp"),
        ("POST", "/proxies/nothing", "{}", 404, "proxy not found"),
        ("POST", "/proxies/line", "[1]", 400, "bad request body"),
        ("GET", "/proxies/nothing/toxics", "", 404, "proxy not found"),
        ("POST", "/proxies/nothing/toxics", "nonsense", 404, "proxy not found"),
        (
            "POST",
            toxics,
            r#"{"type": "latency", "stream": "walrustream"}"#,
            400,
            "stream was invalid, can be either upstream or downstream",
        ),
        ("POST", toxics, r#"{"type": "typhoon"}"#, 400, "invalid toxic type"),
        ("POST", toxics, r#"{"type": "timeout"}"#, 409, "toxic already exists"),
        (
            "POST",
            toxics,
            r#"{"type": "latency", "attributes": {"latency": "1s"}}"#,
            400,
            "bad request body: attributes of latency: invalid type",
        ),
        ("POST", "/proxies/line/toxics/nothing", "{}", 404, "toxic not found"),
        ("POST", "/proxies/line/toxics/timeout_downstream", r#"{"attributes": {"timeout": -1}}"#, 400, "bad request body"),
        ("GET", "/metrics", "", 404, "no such endpoint: GET /metrics"),
        ("GET", "/proxies/", "", 404, "no such endpoint"),
        ("GET", "/proxies/%ff", "", 404, "no such endpoint"),
        ("GET", "/reset", "", 405, "method not allowed: GET /reset"),
        ("PUT", "/proxies/line", "{}", 405, "method not allowed"),
    ] {
        bed.refuses(method, path, body, status, error).await;
    }
    let long = vec![b' '; 2 << 20];
    bed.refuses("POST", "/proxies", &long[..], 400, "length limit exceeded").await;
    assert_eq!(bed.ask("GET", "/proxies", "").await.1.as_object().unwrap().len(), 1, "nothing was made");
}

#[tokio::test]
async fn the_version_is_told_and_browsers_are_not_answered() {
    let bed = Bed::new().await;
    let (status, version) = bed.ask("GET", "/version", "").await;
    assert_eq!(status, 200);
    assert!(version["version"].as_str().unwrap().starts_with("2.12.0+holdline-"));
    let request = "GET /version HTTP/1.1\r\nHost: x\r\nUser-Agent: Mozilla/5.0\r\nConnection: close\r\n\r\n";
    let answer = bed.say(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("User agent not allowed"), "{answer}");
}

#[tokio::test]
async fn garbage_in_place_of_http_harms_nobody() {
    let bed = Bed::new().await;
    for garbage in [&b"\0\xff\xfe"[..], b"GET\r\n\r\n", b"POST /proxies HTTP/1.1\r\nContent-Length: -1\r\n\r\n"] {
        let mut socket = TcpStream::connect(bed.running.api().unwrap()).await.unwrap();
        socket.write_all(garbage).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // It may end with a reset.
        let _ = socket.read_to_end(&mut answer).await;
    }
    assert_eq!(bed.ask("GET", "/version", "").await.0, 200);
}
