//! One line to one server, and its memory.

mod state;

use crate::client::Client;
use crate::error::InvalidChannel;
use crate::handle::Handle;
use crate::inbox::RECORD;
use core::cell::RefCell;
use core::task::Waker;
#[cfg(feature = "durable")]
use holdline_proto::Outbox as _;
use holdline_proto::{Client as Role, ClientId, Config, HELLO_MAX, Incarnation, SliceOutbox, ValidConfig, native};
#[cfg(feature = "classic")]
use holdline_proto::{classic, classic::Flavour};
use state::FRAMING;
#[cfg(any(feature = "classic", feature = "durable"))]
pub(crate) use state::Session;
pub(crate) use state::{Attempt, State};

/// The longest line that an original server takes reliably, and what frames a text in it.
#[cfg(feature = "classic")]
const CLASSIC: (u32, u32) = (4_095, 2);

/// The memory of a channel.
///
/// - `INBOX`, in bytes: received messages that wait, 23 more for each, and the line that is being received. It must hold the longest
///   line and 24 bytes, and 536 for the native profile's greeting. With room for `window` lines besides, an application may pause for
///   ever. With less it gets its messages all the same, but one for which there is no room comes again only about half a timeout
///   later; and a link that was lost comes back only when the application has read what waits.
/// - `OUTBOX`, in bytes: messages that are not acknowledged, 4 more for each.
/// - `TRANSMIT`, in bytes: lines on their way to the transport. It must hold the longest text to be sent and 31 bytes. The greeting,
///   which may be longer, leaves in parts from where its answer will be received.
/// - `TASKS`: how many tasks can wait for the channel at once before they begin to wake each other.
#[derive(Debug)]
pub struct Buffers<const INBOX: usize = 2048, const OUTBOX: usize = 1024, const TRANSMIT: usize = 544, const TASKS: usize = 4> {
    inbox: [u8; INBOX],
    outbox: [u8; OUTBOX],
    transmit: [u8; TRANSMIT],
    wakers: [Option<Waker>; TASKS],
}

impl<const INBOX: usize, const OUTBOX: usize, const TRANSMIT: usize, const TASKS: usize> Buffers<INBOX, OUTBOX, TRANSMIT, TASKS> {
    /// Empty buffers.
    pub const fn new() -> Self {
        const { assert!(TASKS > 0, "somebody has to wait for a message") };
        Self { inbox: [0; INBOX], outbox: [0; OUTBOX], transmit: [0; TRANSMIT], wakers: [const { None }; TASKS] }
    }
}

impl<const INBOX: usize, const OUTBOX: usize, const TRANSMIT: usize, const TASKS: usize> Default
    for Buffers<INBOX, OUTBOX, TRANSMIT, TASKS>
{
    fn default() -> Self {
        Self::new()
    }
}

/// One line to one server, for ever: it outlives every connection that carries it.
///
/// Its two ends are the [`Client`] that keeps it up and the [`Handle`]s of the application.
#[derive(Debug)]
pub struct Channel<'b> {
    state: RefCell<State<'b>>,
}

impl<'b> Channel<'b> {
    /// A channel of the native profile.
    ///
    /// `id` names the client and so its session. `random` gives 64 random bits a call, from a real source: the chip's generator. A
    /// device without one returns a counter of its boots in flash. An epoch that repeats loses messages without a word.
    ///
    /// # Errors
    /// The id is none, a parameter is out of range, or a buffer is too small for it.
    pub fn new<const INBOX: usize, const OUTBOX: usize, const TRANSMIT: usize, const TASKS: usize>(
        id: &str,
        config: Config,
        buffers: &'b mut Buffers<INBOX, OUTBOX, TRANSMIT, TASKS>,
        mut random: impl FnMut() -> u64,
    ) -> Result<Self, InvalidChannel> {
        let (role, config) = check(id, config, INBOX, TRANSMIT)?;
        let incarnation = Incarnation { boot: random(), epoch: random() };
        let Buffers { inbox, outbox, transmit, wakers } = buffers;
        let (outbox_len, outbox) = (outbox.len(), SliceOutbox::new(outbox.as_mut_slice()));
        let session = native::Session::new(role, config, incarnation, outbox);
        #[cfg(feature = "classic")]
        let session = Session::Native(session);
        Ok(Self { state: RefCell::new(State::new(session, outbox_len, inbox, transmit, wakers)) })
    }

    /// A channel of the native profile that goes on where it was before a loss of power: it declares `keeps=both`.
    ///
    /// `record` is where a record is written before it is saved: 49 bytes, and the longest text to be sent and 18. The outbox holds 16
    /// messages at most. [`Handle::send`] returns when the message is safe.
    ///
    /// `taken` is the receipt of the last message that the application knows it has taken. An application that stores the receipt in one
    /// step with what the message did gets every message exactly once; with `None` one whose acknowledgement was not saved yet when the
    /// power went may come again.
    ///
    /// # Errors
    /// As [`Channel::new`], or the store cannot be read. It is then for the board to decide whether to erase it, which costs what was in it.
    #[cfg(feature = "durable")]
    pub async fn durable<const INBOX: usize, const OUTBOX: usize, const TRANSMIT: usize, const TASKS: usize>(
        id: &str,
        config: Config,
        buffers: &'b mut Buffers<INBOX, OUTBOX, TRANSMIT, TASKS>,
        mut random: impl FnMut() -> u64,
        store: &mut impl crate::store::Store,
        record: &'b mut [u8],
        taken: Option<holdline_proto::Receipt>,
    ) -> Result<Self, InvalidChannel> {
        use crate::store::{CURSORS, Durable, HEADER, StoreFailed};
        let record_len = record.len();
        if record_len < CURSORS {
            return Err(InvalidChannel::Record(CURSORS));
        }
        let (role, config) = check(id, config.keeps(holdline_proto::Keeps::Both), INBOX, TRANSMIT)?;
        let Buffers { inbox, outbox, transmit, wakers } = buffers;
        let (outbox_len, mut outbox) = (outbox.len(), SliceOutbox::new(outbox.as_mut_slice()));
        let mut durable = Durable::load(store, record).await.map_err(InvalidChannel::Store)?;
        let load = durable.load_messages(store, |slot, text| outbox.push(slot, text).map_err(|_| StoreFailed));
        load.await.map_err(InvalidChannel::Store)?;
        let mut snapshot = durable.saved();
        if let Some(taken) = taken.filter(|taken| taken.epoch == snapshot.peer_epoch && taken.seq > snapshot.accepted) {
            snapshot.accepted = taken.seq;
            snapshot.accepted_sum = snapshot.accepted_sum.map(|_| taken.sum);
        }
        if snapshot.epoch == 0 {
            snapshot.epoch = random().max(1);
        }
        let session = native::Session::restore(role, config, random(), snapshot, outbox);
        #[cfg(feature = "classic")]
        let session = Session::Native(session);
        let mut state = State::new(session, outbox_len, inbox, transmit, wakers);
        state.max_text = state.max_text.min((record_len - HEADER) as u32);
        state.queued = state.session.outbox().len() as u32;
        state.durable = Some(durable);
        Ok(Self { state: RefCell::new(state) })
    }

    /// A channel of a classic profile, to an original server.
    ///
    /// The timeout of `config` must be the server's own: [`Flavour::default_timeout_ms`] unless it was told another.
    ///
    /// # Errors
    /// As [`Channel::new`].
    #[cfg(feature = "classic")]
    pub fn classic<const INBOX: usize, const OUTBOX: usize, const TRANSMIT: usize, const TASKS: usize>(
        id: &str,
        flavour: Flavour,
        config: Config,
        buffers: &'b mut Buffers<INBOX, OUTBOX, TRANSMIT, TASKS>,
    ) -> Result<Self, InvalidChannel> {
        let role = Role { id: ClientId::new(id).map_err(InvalidChannel::Id)? };
        let config = config.validate().map_err(InvalidChannel::Config)?;
        let least = config.get().max_line as usize + 1 + RECORD;
        if INBOX < least || INBOX > usize::from(u16::MAX) {
            return Err(InvalidChannel::Inbox(least));
        }
        if TRANSMIT < id.len() + 1 {
            return Err(InvalidChannel::Transmit(id.len() + 1));
        }
        let Buffers { inbox, outbox, transmit, wakers } = buffers;
        let (outbox_len, outbox) = (outbox.len(), SliceOutbox::new(outbox.as_mut_slice()));
        let session = Session::Classic(classic::Session::new(role, flavour, config, outbox));
        Ok(Self { state: RefCell::new(State::new(session, outbox_len, inbox, transmit, wakers)) })
    }

    /// A channel of the native profile that goes over to a classic one, with the messages that wait, when what answers does not speak
    /// Holdline: for a board that is to work with an original server and with ours.
    ///
    /// It goes over once, and stays there until the board is started again: what answers once on the server's port and is something else
    /// costs the native promises until then. Where the server is known, take [`Channel::new`] or [`Channel::classic`]. The timeout of
    /// `config` must be the original's own, as there. No text may be empty, or longer than [`Config::max_line`] less 2.
    ///
    /// # Errors
    /// As [`Channel::new`].
    #[cfg(feature = "classic")]
    pub fn with_fallback<const INBOX: usize, const OUTBOX: usize, const TRANSMIT: usize, const TASKS: usize>(
        id: &str,
        flavour: Flavour,
        config: Config,
        buffers: &'b mut Buffers<INBOX, OUTBOX, TRANSMIT, TASKS>,
        random: impl FnMut() -> u64,
    ) -> Result<Self, InvalidChannel> {
        let mut channel = Self::new(id, config, buffers, random)?;
        let state = channel.state.get_mut();
        state.fallback = Some(flavour);
        state.max_text = state.max_text.min(config.max_line.min(CLASSIC.0) - CLASSIC.1);
        Ok(channel)
    }

    /// How many messages of best effort, or in a classic profile of any kind, may wait for the application. Default: 20. Of reliable
    /// messages in the native profile it is [`Config::window`].
    #[must_use]
    pub fn queue(mut self, messages: u16) -> Self {
        self.state.get_mut().queue_max = messages.max(1);
        self
    }

    /// The channel's two ends: who keeps it up, and what the application copies to every task that reads or writes.
    ///
    /// All of them run on one executor.
    pub fn split(&mut self) -> (Client<'_, 'b>, Handle<'_, 'b>) {
        (Client::new(&self.state), Handle::new(&self.state))
    }
}

/// Checks what a native session asks of its buffers.
fn check(id: &str, config: Config, inbox: usize, transmit: usize) -> Result<(Role, ValidConfig), InvalidChannel> {
    let role = Role { id: ClientId::new(id).map_err(InvalidChannel::Id)? };
    let config = config.validate().map_err(InvalidChannel::Config)?;
    let least = (config.get().max_line as usize).max(HELLO_MAX) + 1 + RECORD;
    if inbox < least || inbox > usize::from(u16::MAX) {
        return Err(InvalidChannel::Inbox(least));
    }
    if transmit < FRAMING {
        return Err(InvalidChannel::Transmit(FRAMING));
    }
    Ok((role, config))
}
