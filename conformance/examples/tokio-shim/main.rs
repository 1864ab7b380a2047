//! The shim of `holdline-server`: its server and its client on Tokio.
//!
//! ```text
//! cargo build --examples -p holdline-conformance
//! holdline-conformance shim -- target/debug/examples/tokio-shim
//! ```

mod shim;

fn main() -> std::io::Result<()> {
    shim::run()
}
