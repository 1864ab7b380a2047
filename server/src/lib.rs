//! Holdline on Tokio: a server and a client that keep a line of messages through outages.
