//! TCP by `embedded-nal-async`: for whoever has a stack with no more than that. Over `embassy-net` tcp.rs is the better choice, as it closes
//! in order and tells who is to blame.

use core::net::Ipv4Addr;
use embassy_net::Stack;
use embassy_net::tcp::client::{TcpClient, TcpClientState};
use holdline_esp::NalConnector;
use static_cell::StaticCell;

/// One connection at a time, and two buffers for it.
pub type Tcp = NalConnector<TcpClient<'static, 1, 1536, 1536>>;

/// Connects to this address; it can be made once.
pub fn connector(stack: Stack<'static>, server: (Ipv4Addr, u16)) -> Tcp {
    static STATE: StaticCell<TcpClientState<1, 1536, 1536>> = StaticCell::new();
    NalConnector::new(TcpClient::new(stack, STATE.init(TcpClientState::new())), server.into())
}
