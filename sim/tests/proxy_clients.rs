//! Published clients of Toxiproxy, which we did not write, drive our proxy unchanged.
//!
//! What they need is installed under `target/`, once. Where a language is missing, or its registry cannot be reached, the test says
//! so and passes; with `CI=true` in the environment only a missing language is an excuse.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use holdline_sim::proxy::{Options, start};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

#[tokio::test]
async fn toxiproxy_rust_from_crates_io() {
    let client = sources().join("rust");
    let target = installed("rust");
    let mut build = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    build
        .args(["build", "--locked", "--quiet", "--manifest-path"])
        .arg(client.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target);
    // Its OpenSSL is looked for by a build script.
    if let Ready::No(reason) = install(build, "openssl-sys").await {
        return println!("skipped: {reason}");
    }
    drive(Command::new(target.join("debug/toxiproxy-rust-client"))).await;
}

#[tokio::test]
async fn toxiproxy_python_from_pypi() {
    let packages = installed("python");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--target"]);
    pip.arg(&packages).args(["toxiproxy-python==0.1.1", "future==1.0.0", "requests==2.32.5"]);
    if let Ready::No(reason) = install_once(&packages, pip, "No module named pip").await {
        return println!("skipped: {reason}");
    }
    let mut python = Command::new("python3");
    python.arg(sources().join("client.py")).env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1").env("NO_PROXY", "*");
    drive(python).await;
}

#[tokio::test]
async fn toxiproxy_node_client_from_npm() {
    let packages = installed("node");
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--prefix"]).arg(&packages);
    npm.arg("toxiproxy-node-client@4.1.0");
    if let Ready::No(reason) = install_once(&packages, npm, "EBADENGINE").await {
        return println!("skipped: {reason}");
    }
    let mut node = Command::new("node");
    node.arg(sources().join("client.js")).env("NODE_PATH", packages.join("node_modules"));
    drive(node).await;
}

/// Whether a client can be run here.
enum Ready {
    Yes,
    No(String),
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/toxiproxy")
}

fn installed(language: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("toxiproxy").join(language)
}

async fn install_once(packages: &Path, command: Command, excuse: &str) -> Ready {
    let done = packages.join("installed");
    if done.exists() {
        return Ready::Yes;
    }
    std::fs::create_dir_all(packages).unwrap();
    let ready = install(command, excuse).await;
    if matches!(ready, Ready::Yes) {
        std::fs::write(done, "").unwrap();
    }
    ready
}

/// Runs what installs a client; its `excuse` in the output means that this machine lacks what no registry has.
async fn install(command: Command, excuse: &str) -> Ready {
    let what = format!("{:?}", command.as_std());
    let output = match output(command, Duration::from_secs(900)).await {
        Ok(output) if output.status.success() => return Ready::Yes,
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ready::No(format!("{what}: {error}")),
        Err(error) => panic!("{what}: {error}"),
    };
    let said = told(&output);
    let reason = format!("{what}: {said}");
    assert!(said.contains(excuse) || std::env::var("CI").as_deref() != Ok("true"), "{reason}");
    Ready::No(reason)
}

/// Lets a client drive a proxy of its own.
async fn drive(mut client: Command) {
    let running = start(Options { api: Some("127.0.0.1:0".into()), ..Options::default() }).await.unwrap();
    client.arg(running.api().unwrap().to_string()).arg(echo().await);
    let output = output(client, Duration::from_secs(120)).await.unwrap();
    assert!(output.status.success(), "{}", told(&output));
    running.stop().await;
}

async fn output(mut command: Command, most: Duration) -> std::io::Result<Output> {
    timeout(most, command.kill_on_drop(true).output()).await?
}

fn told(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The address of a server that sends back what it gets.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                // A toxic may break it off.
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}
