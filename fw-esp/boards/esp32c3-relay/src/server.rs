//! The server that the host names.

use crate::tcp::{Connection, Tcp};
use core::net::Ipv4Addr;
use defmt::{info, warn};
use embassy_net::Stack;
use embassy_net::dns::DnsQueryType;
use heapless::String;
use holdline_esp::{Configure, ConnectFailure, Connector, Settings};

/// A server, by name or address, once the host has said which.
pub struct Server {
    stack: Stack<'static>,
    tcp: Tcp,
    /// The longest that a host can say.
    name: String<255>,
    port: u16,
}

impl Server {
    /// None so far.
    pub fn new(stack: Stack<'static>) -> Self {
        Self { stack, tcp: Tcp::new(stack, (Ipv4Addr::UNSPECIFIED, 0)), name: String::new(), port: 0 }
    }
}

impl Configure for Server {
    fn configure(&mut self, settings: &Settings<'_>) {
        info!("the host's server is {}:{}", settings.server, settings.port);
        self.port = settings.port;
        self.name.clear();
        // What is too long is no name, and the name that there is none of has no address.
        let _ = self.name.push_str(settings.server);
    }
}

impl Connector for Server {
    type Stream<'s> = Connection<'s>;

    async fn connect(&mut self) -> Result<Connection<'_>, ConnectFailure> {
        // A name may get another address while the relay runs. An address is its own name.
        let Some(address) = self.stack.dns_query(&self.name, DnsQueryType::A).await.ok().and_then(|found| found.first().copied())
        else {
            warn!("{} has no address", self.name.as_str());
            return Err(ConnectFailure::Unreachable);
        };
        self.tcp.server = (address, self.port).into();
        let connection = self.tcp.connect().await;
        match &connection {
            Ok(_) => info!("connected to {}:{}, {}", self.name.as_str(), self.port, address),
            Err(error) => {
                warn!("not connected to {}:{}, {}: {}", self.name.as_str(), self.port, address, error)
            }
        }
        connection
    }
}
