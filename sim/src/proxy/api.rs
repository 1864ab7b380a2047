//! Toxiproxy's HTTP API: the same paths, bodies and status codes, so that its clients need not know the difference.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Error;
use super::collection::{Proxies, ProxySpec};
use super::listener::ProxyView;
use super::toxic::{Toxic, parse_body};

/// The version of Toxiproxy whose API this is, with ours behind it.
const VERSION: &str = concat!("2.12.0+holdline-", env!("CARGO_PKG_VERSION"));

/// Connections to the API at a time, how long one may be idle, and how long and large a body may be.
const MOST_CONNECTIONS: usize = 64;
const IDLE: Duration = Duration::from_secs(60);
const BODY_TIME: Duration = Duration::from_secs(15);
const LARGEST_BODY: usize = 1 << 20;

/// Answers requests until it is stopped.
pub(super) async fn serve(listener: TcpListener, proxies: Proxies, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let tasks = TaskTracker::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((socket, _)) = accepted else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
        let (proxies, stop) = (proxies.clone(), stop.clone());
        tasks.spawn(async move {
            let service = service_fn(|request| answer(&proxies, request));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(IDLE);
            // A client that breaks off has nobody left to tell.
            let _ = stop.run_until_cancelled(http.serve_connection(TokioIo::new(socket), service)).await;
            drop(slot);
        });
    }
    tasks.close();
    tasks.wait().await;
}

async fn answer(proxies: &Proxies, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let described = format!("{} {}", request.method(), request.uri().path());
    let reply = reply(proxies, request, &described).await.unwrap_or_else(|error| {
        tracing::debug!(request = described, %error, "refused");
        Reply::json(error.status(), &failure(&error))
    });
    Ok(reply.into_response())
}

async fn reply(proxies: &Proxies, request: Request<Incoming>, described: &str) -> Result<Reply, Error> {
    let agent = request.headers().get(USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
    if agent.starts_with(b"Mozilla/") {
        return Err(Error::Browser);
    }
    let (head, body) = request.into_parts();
    let mut path = Vec::new();
    for part in head.uri.path().split('/').skip(1) {
        path.push(percent_decode_str(part).decode_utf8().map_err(|_| Error::NoEndpoint(described.to_owned()))?);
    }
    let path: Vec<&str> = path.iter().map(|part| &**part).collect();
    let endpoint = Endpoint::find(&path).ok_or_else(|| Error::NoEndpoint(described.to_owned()))?;
    let method = Verb::parse(&head.method);
    let body = read(body).await?;
    let done = match endpoint {
        Endpoint::Version => version(method),
        Endpoint::Proxies => of_all(proxies, method, &body).await?,
        Endpoint::Populate => populate(proxies, method, &body).await?,
        Endpoint::Reset => reset(proxies, method).await?,
        Endpoint::Proxy(name) => of_proxy(proxies, method, name, &body).await?,
        Endpoint::Toxics(name) => of_toxics(proxies, method, name, &body).await?,
        Endpoint::Toxic(name, toxic) => of_toxic(proxies, method, name, toxic, &body).await?,
    };
    done.ok_or_else(|| Error::WrongMethod(described.to_owned()))
}

async fn read(body: Incoming) -> Result<Bytes, Error> {
    let collected = timeout(BODY_TIME, Limited::new(body, LARGEST_BODY).collect()).await;
    let collected = collected.map_err(|_| Error::BadRequestBody("it did not end in time".to_owned()))?;
    Ok(collected.map_err(|error| Error::BadRequestBody(error.to_string()))?.to_bytes())
}

#[derive(Debug, Clone, Copy)]
enum Endpoint<'a> {
    Version,
    Populate,
    Reset,
    Proxies,
    Proxy(&'a str),
    Toxics(&'a str),
    Toxic(&'a str, &'a str),
}

impl<'a> Endpoint<'a> {
    fn find(path: &[&'a str]) -> Option<Self> {
        Some(match *path {
            ["version"] => Self::Version,
            ["populate"] => Self::Populate,
            ["reset"] => Self::Reset,
            ["proxies"] => Self::Proxies,
            ["proxies", name] if !name.is_empty() => Self::Proxy(name),
            ["proxies", name, "toxics"] => Self::Toxics(name),
            ["proxies", name, "toxics", toxic] if !toxic.is_empty() => Self::Toxic(name, toxic),
            _ => return None,
        })
    }
}

/// What a method means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Get,
    Post,
    Patch,
    Delete,
    Other,
}

impl Verb {
    fn parse(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::POST => Self::Post,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            _ => Self::Other,
        }
    }
}

/// Each of these has no answer to a method that its endpoint does not have.
type Done = Result<Option<Reply>, Error>;

fn version(method: Verb) -> Option<Reply> {
    (method == Verb::Get).then(|| Reply::json(200, &json!({ "version": VERSION })))
}

async fn of_all(proxies: &Proxies, method: Verb, body: &[u8]) -> Done {
    Ok(match method {
        Verb::Get => Some(Reply::json(200, &proxies.list().await)),
        Verb::Post => Some(Reply::json(201, &proxies.create(&parse_body(body)?).await?)),
        _ => None,
    })
}

async fn populate(proxies: &Proxies, method: Verb, body: &[u8]) -> Done {
    if method != Verb::Post {
        return Ok(None);
    }
    let populated = match parse_body::<Vec<ProxySpec>>(body) {
        Ok(specs) => proxies.populate(&specs).await,
        Err(error) => Err((Vec::<ProxyView>::new(), error)),
    };
    Ok(Some(match populated {
        Ok(made) => Reply::json(201, &json!({ "proxies": made })),
        Err((made, error)) => {
            let mut failure = failure(&error);
            failure["proxies"] = json!(made);
            Reply::json(error.status(), &failure)
        }
    }))
}

async fn reset(proxies: &Proxies, method: Verb) -> Done {
    if method != Verb::Post {
        return Ok(None);
    }
    proxies.reset().await?;
    Ok(Some(Reply::NONE))
}

async fn of_proxy(proxies: &Proxies, method: Verb, name: &str, body: &[u8]) -> Done {
    Ok(Some(match method {
        Verb::Get => Reply::json(200, &proxies.get(name).await?),
        Verb::Post | Verb::Patch => {
            proxies.get(name).await?;
            Reply::json(200, &proxies.update(name, &parse_body(body)?).await?)
        }
        Verb::Delete => {
            proxies.delete(name).await?;
            Reply::NONE
        }
        Verb::Other => return Ok(None),
    }))
}

async fn of_toxics(proxies: &Proxies, method: Verb, name: &str, body: &[u8]) -> Done {
    Ok(match method {
        Verb::Get => Some(Reply::json(200, &proxies.toxics(name).await?)),
        Verb::Post => {
            proxies.get(name).await?;
            Some(Reply::json(200, &proxies.add_toxic(name, Toxic::parse(body)?).await?))
        }
        _ => None,
    })
}

async fn of_toxic(proxies: &Proxies, method: Verb, name: &str, toxic: &str, body: &[u8]) -> Done {
    Ok(Some(match method {
        Verb::Get => Reply::json(200, &proxies.toxic(name, toxic).await?),
        Verb::Post | Verb::Patch => Reply::json(200, &proxies.change_toxic(name, toxic, body).await?),
        Verb::Delete => {
            proxies.remove_toxic(name, toxic).await?;
            Reply::NONE
        }
        Verb::Other => return Ok(None),
    }))
}

fn failure(error: &Error) -> serde_json::Value {
    json!({ "error": error.to_string(), "status": error.status() })
}

#[derive(Debug)]
struct Reply {
    status: StatusCode,
    body: Vec<u8>,
}

impl Reply {
    const NONE: Self = Self { status: StatusCode::NO_CONTENT, body: Vec::new() };

    fn json(status: u16, value: &impl Serialize) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut body = serde_json::to_vec(value).expect("strings, numbers and maps with names are JSON");
        body.push(b'\n');
        Self { status, body }
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.status;
        if self.status != StatusCode::NO_CONTENT {
            response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
        }
        response
    }
}
