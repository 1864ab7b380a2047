//! What a board provides: a network, connections, time.

use core::future::Future;
use embedded_io_async::{Read, Write};
pub use holdline_proto::ConnectFailure;
use holdline_proto::Instant;

/// Opens connections to the server.
pub trait Connector {
    /// A connection; it may borrow from the connector, whose next call comes after the connection was dropped.
    type Stream<'s>: Stream
    where
        Self: 's;

    /// Opens a connection.
    ///
    /// It is dropped when it takes longer than the client's timeout or 5 seconds, whichever is longer.
    ///
    /// # Errors
    /// Who is to blame decides what is done next: [`ConnectFailure::Refused`] leaves the network alone, after three of the others
    /// in a row it is left and joined again.
    fn connect(&mut self) -> impl Future<Output = Result<Self::Stream<'_>, ConnectFailure>>;
}

/// An ordered stream of bytes in both directions, of which one side reads while the other writes.
pub trait Stream {
    /// The receiving half.
    type Reader<'h>: Read
    where
        Self: 'h;
    /// The sending half.
    type Writer<'h>: Write
    where
        Self: 'h;

    /// Both halves. A pending `read` or `write` of theirs is dropped only with the link, after which nothing but
    /// [`Stream::close`] is called.
    fn split(&mut self) -> (Self::Reader<'_>, Self::Writer<'_>);

    /// Closes in order what can be closed within a second; dropped after that. Default: nothing, as dropping a stream closes it.
    fn close(&mut self) -> impl Future<Output = ()> {
        async {}
    }
}

/// The network under the connections, which may have to be joined: the WiFi.
pub trait Network {
    /// Whether there is something to join and leave. `false` for a board whose network is just there.
    const IS_MANAGED: bool = true;

    /// Joins, and returns once connections can be opened (there is an address). It is dropped after a minute.
    ///
    /// # Errors
    /// The network could not be joined; the next attempt follows after a pause.
    fn join(&mut self) -> impl Future<Output = Result<(), JoinFailed>>;

    /// Leaves, also if it has not joined.
    fn leave(&mut self) -> impl Future<Output = ()>;

    /// Whether the network is joined still.
    fn is_up(&mut self) -> bool;
}

/// The network could not be joined: it is not there, refuses, or gives no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct JoinFailed;

impl core::fmt::Display for JoinFailed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the network could not be joined: is it in reach, and are the credentials right?")
    }
}

impl core::error::Error for JoinFailed {}

/// A network that is always there: Ethernet, a serial line, a host.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlwaysUp;

impl Network for AlwaysUp {
    const IS_MANAGED: bool = false;

    async fn join(&mut self) -> Result<(), JoinFailed> {
        Ok(())
    }

    async fn leave(&mut self) {}

    fn is_up(&mut self) -> bool {
        true
    }
}

/// Monotonic time, from whatever origin.
pub trait Clock {
    /// The time now.
    fn now(&self) -> Instant;

    /// Waits until `at`, or not at all if that has passed. Dropping the future forgets the wait.
    fn wait_until(&self, at: Instant) -> impl Future<Output = ()>;
}

impl<T: Clock> Clock for &T {
    fn now(&self) -> Instant {
        (**self).now()
    }

    async fn wait_until(&self, at: Instant) {
        (**self).wait_until(at).await;
    }
}

/// The clock of `embassy-time`.
#[cfg(feature = "embassy-time")]
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbassyClock;

#[cfg(feature = "embassy-time")]
impl Clock for EmbassyClock {
    fn now(&self) -> Instant {
        Instant::from_millis(embassy_time::Instant::now().as_millis())
    }

    async fn wait_until(&self, at: Instant) {
        // What lies beyond the driver's timeline never comes.
        if let Some(at) = embassy_time::Instant::try_from_millis(at.as_millis()) {
            embassy_time::Timer::at(at).await;
        } else {
            core::future::pending::<()>().await;
        }
    }
}
