"""Holdline: one line of short text messages to a server, kept whole over any number of connections.

Written from SPEC.md alone (the HL-nnnn in the comments are its requirements). CPython 3.8 and later, MicroPython; no
dependencies. Copy this file to the board:

    client = Client("192.168.1.10", 8123, "door-1")
    client.start()                       # connects, and connects again, for ever
    await client.write("opened")         # returns True when the server's application has it
    print(await client.readline())       # the next message of the server

Read it from the top: Session is what outlives a connection (section 6 and 7 of SPEC.md), Link is one connection
(sections 2, 5.1, 8, 9), Client says hello and decides when to connect (sections 5.4, 11).
"""

import binascii
import json
import os
import time

try:
    import asyncio
except ImportError:  # MicroPython before 1.21
    import uasyncio as asyncio

HELLO_MAX = 512  # bytes of a hello, a welcome, a refusal
KEEPS = ("none", "sent", "seen", "both")
CODE = "abcdefghijklmnopqrstuvwxyz0123456789-"


class Refused(ValueError):
    """A text or a setting that cannot be: `why` is "not-text", "too-long" or "setting"."""

    def __init__(self, why, message):
        super().__init__(message)
        self.why = why


class Full(Exception):
    """The outbox holds as many messages as it may; nothing was taken."""


if hasattr(time, "ticks_ms"):
    _clock = [time.ticks_ms(), 0]

    def now():
        """Milliseconds of a clock that does not wrap (HL-0109); to be called at least once in three days."""
        t = time.ticks_ms()
        _clock[1] += time.ticks_diff(t, _clock[0])
        _clock[0] = t
        return _clock[1]

else:

    def now():
        """Milliseconds of a clock that is never set."""
        return int(time.monotonic() * 1000)


async def wait(event, ms):
    """Waits until `event` is set, which this does after `ms`, if not None. `asyncio.wait_for` would not do: CPython before
    3.12 can swallow a cancellation in it."""
    alarm = None if ms is None else asyncio.create_task(_ring(event, ms))
    try:
        await event.wait()
    finally:
        if alarm:
            alarm.cancel()


async def _ring(event, ms):
    await asyncio.sleep(ms / 1000)
    event.set()


def random_up_to(top):
    """A random number from 0 to `top`, both included."""
    return int.from_bytes(os.urandom(8), "big") % (top + 1)


def random64():
    """A random 64-bit number that is not 0."""
    return int.from_bytes(os.urandom(8), "big") or 1


def crc(data, value=0):
    """The CRC-32 of section 6.4, carried forward from `value`."""
    return binascii.crc32(data, value) & 0xFFFFFFFF


def to_text(data):
    """The text of UTF-8 bytes, or None. MicroPython's own decoder lets surrogates and overlong forms pass."""
    try:
        text = str(data, "utf-8")
    except ValueError:
        return None
    size = 0
    for c in text:
        o = ord(c)
        if 0xD800 <= o < 0xE000 or o > 0x10FFFF:
            return None
        size += 1 if o < 0x80 else 2 if o < 0x800 else 3 if o < 0x10000 else 4
    return text if size == len(data) else None


def to_number(text, below=1 << 64):
    """The number that `text` writes by the grammar (no sign, no leading zero), or None."""
    if not text or len(text) > 20 or (text[0] == "0" and text != "0"):
        return None
    if not all("0" <= c <= "9" for c in text) or int(text) >= below:
        return None
    return int(text)


def in_range(name, value, low, high):
    """Refuses a setting outside of its range (HL-0008)."""
    if not isinstance(value, int) or not low <= value <= high:
        raise Refused("setting", "%s: %r is not within %d and %d" % (name, value, low, high))


SEQ, WORD32 = 1 << 63, 1 << 32
# What a hello and a welcome must and may have: key, lowest value, lowest value that is too much (section 4.1).
NEEDED = (("boot", 0, 1 << 64), ("epoch", 1, 1 << 64), ("base", 0, SEQ), ("peer", 0, 1 << 64), ("seen", 0, SEQ),
          ("timeout", 200, 3600001), ("window", 1, 65536), ("max", 128, 1048577))
OPTIONAL = (("bsum", 0, WORD32), ("sum", 0, WORD32), ("held", 0, 65536), ("link", 1, 1 << 64))


def is_client_id(text):
    """Whether `text` is a client id of the native profile."""
    return 1 <= len(text) <= 64 and all("!" <= c <= "~" and c != "=" for c in text)


def split_fields(text, known):
    """The fields `key=value` of a hello, a welcome or a refusal as a dict; None if one is no field, or a known one is there
    twice. A field that is not known is ignored, whatever it is (HL-0017)."""
    fields = {}
    for field in text.split(" "):
        at = field.find("=")
        if at < 1 or (field[:at] in known and field[:at] in fields):
            return None
        fields[field[:at]] = field[at + 1:]
    return fields


def is_code(text):
    """Whether `text` is a code of a bye or a refusal."""
    return 1 <= len(text) <= 32 and all(c in CODE for c in text)


def read_greeting(text, with_client):
    """The fields of a hello (`with_client`) or a welcome as a dict of numbers, `keeps` and `client`; None: malformed."""
    known = ["keeps"] + [k[0] for k in NEEDED + OPTIONAL] + (["client"] if with_client else [])
    fields = split_fields(text, known)
    if fields is None or fields.get("keeps") not in KEEPS or (with_client and not is_client_id(fields.get("client", ""))):
        return None
    got = {"keeps": fields["keeps"], "client": fields.get("client")}
    for key, low, end in NEEDED + OPTIONAL:
        value = fields.get(key)
        if value is None:
            if (key, low, end) in NEEDED:
                return None
            got[key] = None
            continue
        got[key] = to_number(value, end)
        if got[key] is None or got[key] < low:
            return None
    return got


class FileStore:
    """Keeps the memory of one session in one file, replaced as a whole, so that a power cut leaves the old or the new one."""

    def __init__(self, path):
        self.path = path

    def load(self):
        """What was saved last, or None if there is nothing that can be read."""
        try:
            with open(self.path) as f:
                return json.loads(f.read())
        except (OSError, ValueError):
            return None

    def save(self, memory):
        """Returns when `memory` will survive; raises OSError otherwise."""
        with open(self.path + ".new", "w") as f:
            f.write(json.dumps(memory))
            f.flush()
            if hasattr(os, "fsync"):
                os.fsync(f.fileno())
        os.rename(self.path + ".new", self.path)
        if hasattr(os, "sync") and not hasattr(os, "fsync"):
            os.sync()


class Message:
    """A text on its way out: waiting, then `done` as "acked" or "dropped"."""

    def __init__(self, text, slot=None):
        self.text = text
        self.slot = slot
        self.done = None
        self.id = None  # classic profiles: its id, once it has one


class Incoming:
    """A text on its way in; `n` is None for a datagram."""

    def __init__(self, text, epoch=0, n=None, total=None):
        self.text = text
        self.epoch = epoch
        self.n = n
        self.total = total  # the sum of the stream up to here, if there is one
        self.link = None  # classic profiles


class Session:
    """The two streams with one peer, and what the application does with them. It outlives every link.

    timeout (T, ms, 200 … 3 600 000), window (messages, 1 … 65 535) and max (bytes of a line, 128 … 1 048 576) are told to
    the peer. keeps: "none", "sent", "seen" or "both" survive in `store` (an object with `load` and `save`). policy after the
    peer forgot: "redeliver" or "skip". check: "off" or "crc32". outbox: how many messages it holds. on_event(name, info) is
    called for each event of section 13.5, "up" and "down" with info["reason"]; on_heard() whenever bytes of the peer
    come, with its keepalives four times in T.
    """

    def __init__(self, timeout=2000, window=16, max=4096, keeps="none", store=None, policy="redeliver", check="off",
                 outbox=32, on_event=None, on_heard=None, boot=None):
        in_range("timeout", timeout, 200, 3600000)
        in_range("window", window, 1, 65535)
        in_range("max", max, 128, 1048576)
        in_range("outbox", outbox, 1, 1 << 30)
        if keeps not in KEEPS or policy not in ("redeliver", "skip") or check not in ("off", "crc32"):
            raise Refused("setting", "keeps=%r policy=%r check=%r: one of them is unknown" % (keeps, policy, check))
        if keeps != "none" and store is None:
            raise Refused("setting", "keeps=%s needs a store (HL-0021)" % keeps)
        self.timeout, self.window, self.max, self.policy = timeout, window, max, policy
        self.checked = check == "crc32"
        self.overhead = 31 if self.checked else 22  # what a line is longer than its text, at most (section 2)
        self.text_max, self.classic_text = max - self.overhead, False
        self.keeps, self.store, self.capacity, self.on_event, self.on_heard = keeps, store, outbox, on_event, on_heard
        self.keeps_sent, self.keeps_seen = keeps in ("sent", "both"), keeps in ("seen", "both")
        self.boot = random64() if boot is None else boot  # HL-0020
        self.link, self.links, self.peer_keeps = None, 0, None
        self.events, self.faults, self.datagrams = [], {}, []
        self.inbox, self.given = [], []  # not yet taken by the application; taken and not accepted
        self.waiters = []
        self.outbox, self.memo = [], None
        self.begin_sending()
        self.begin_receiving()
        if keeps != "none":
            self._restore(store.load() or {})

    # What the application calls

    def send(self, text, slot=None):
        """Takes a message for exactly-once delivery and returns it; raises Refused or Full. With `slot`, it replaces what
        waits in that slot and was never put on a wire (delivery *latest*, HL-0090)."""
        self.check_text(text)
        if slot is not None:
            for i in range(len(self.outbox)):
                m = self.outbox[i]
                if m.slot == slot and not self._was_on_wire(i):
                    old, m.text = m.text, text
                    self._save_or(lambda: setattr(m, "text", old))
                    return m
        if len(self.outbox) >= self.capacity:
            raise Full("the outbox holds %d messages" % len(self.outbox))
        m = Message(text, slot)
        self.outbox.append(m)
        self._save_or(self.outbox.pop)
        self._output()
        return m

    async def write(self, text, slot=None):
        """Sends and waits, however long it takes: True when the peer's application has accepted the text (HL-0085), False
        when policy `skip` dropped it. Waits for room too. If the call is cancelled, the message may still be delivered."""
        self.check_text(text)
        while len(self.outbox) >= self.capacity:
            await self.changed()
        m = self.send(text, slot)
        while m.done is None:
            await self.changed()
        return m.done == "acked"

    def datagram(self, text):
        """Sends best effort, at most once: False when no link is up or too many wait (HL-0091)."""
        self.check_text(text)
        if not self.status() or len(self.datagrams) >= self.capacity:
            return False
        if len(text.encode()) > self.link.text_max():
            raise Refused("too-long", "the peer takes %d bytes on this link" % self.link.text_max())
        self.datagrams.append(text)
        self._output()
        return True

    async def readline(self, accept=True):
        """The next text of the peer. It is accepted, and so acked, when it is returned; with `accept=False` when the
        application calls `accept()`, after its work is done."""
        return (await self.receive(accept)).text

    async def receive(self, accept=True):
        """As `readline`, with all that is known: `.text`, `.n` (None for a datagram)."""
        while not self.inbox:
            await self.changed()
        return self.take(accept)

    def take(self, accept=True):
        """As `receive`, at once: None when nothing has come."""
        if not self.inbox:
            return None
        self.given.append(self.inbox.pop(0))
        taken = self.given[-1]
        if accept:
            try:
                self.accept()
            except OSError:
                self.inbox.insert(0, self.given.pop())
                raise
        return taken

    def accept(self, memo=None):
        """Accepts all that was taken. `memo`, a short text of the application, is kept in the same step as the cursor
        (HL-0078) when `keeps` is "seen" or "both", and is `session.memo` after a restart."""
        before = (self.accepted, self.total, self.memo)
        for m in self.given:
            if m.n is not None and m.epoch == self.peer_epoch and m.n > self.accepted:  # HL-0074
                self.accepted, self.total = m.n, m.total
        self.memo = memo if memo is not None else self.memo
        if self.keeps_seen and before != (self.accepted, self.total, self.memo):
            self._save_or(lambda: self._put_back(before))
        given, self.given = self.given, []
        if self.link:
            self.link.on_accept(given)
        self.notify()

    def status(self):
        """Whether the link is up."""
        return self.link is not None and self.link.up

    async def connected(self):
        """Returns when the link is up. Nothing needs it: what is sent before waits."""
        while not self.status():
            await self.changed()

    async def changed(self, ms=None):
        """Returns after the next change (something came, was acked, the link went up or down), or after `ms`."""
        event = asyncio.Event()
        self.waiters.append(event)
        try:
            await wait(event, ms)
        finally:
            if event in self.waiters:
                self.waiters.remove(event)

    # Streams

    def begin_sending(self):
        """A new stream of its own, with what is held."""
        self.epoch, self.acked, self.high = random64(), 0, 0
        self.contacted, self.contact_boot = False, 0
        self.own_sum = 0 if self.keeps_sent else None  # over 1 … acked

    def begin_receiving(self):
        """No memory of the peer's stream."""
        self.peer_epoch, self.received, self.accepted = 0, 0, 0
        self.total, self.total_received = None, None  # its sum over 1 … accepted, and over 1 … received

    def next(self):
        """The number that the next new message will get."""
        return self.acked + 1 + len(self.outbox)

    def greeting(self, timeout):
        """The fields of this side's hello or welcome, in the order of the grammar (HL-0016)."""
        line = "boot=%d epoch=%d base=%d peer=%d seen=%d keeps=%s timeout=%d window=%d max=%d" % (
            self.boot, self.epoch, self.acked, self.peer_epoch, self.accepted, self.keeps, timeout, self.window, self.max)
        if self.own_sum is not None:
            line += " bsum=%d" % self.own_sum
        if self.peer_epoch and self.total_received is not None:
            line += " sum=%d" % self.total_received
        if self.peer_epoch and self.received > self.accepted:
            line += " held=%d" % (self.received - self.accepted)
        return line

    def forward(self, total, texts):
        """`total` carried forward over `texts`; None stays None."""
        for text in texts:
            total = None if total is None else crc(text.encode() + b"\n", total)
        return total

    def sender_rows(self, peer):
        """Section 6.2, for the greeting `peer`; True when a client must say hello again (HL-0069)."""
        first, moved = self.acked + 1, False
        taken = peer["seen"] + (peer["held"] or 0)
        if peer["peer"] == self.epoch:
            late = self.contact_boot == peer["boot"]
            self.contacted, self.contact_boot = True, peer["boot"]  # HL-0160
            if peer["seen"] < self.acked:
                if not late:  # HL-0065: what the same boot says less of was said before
                    self.event("Lost", {"from": peer["seen"] + 1, "to": self.acked, "direction": "out"})
            elif taken > self.high or self._differs(peer["sum"], taken):
                self._start_over()
                moved = True
            else:
                self.prune(peer["seen"])
        elif self.contacted and self.contact_boot != peer["boot"]:
            if self.policy == "skip":
                last = max(self.acked, self.high)
                moved = last > self.acked
                self._drop(last - self.acked, "dropped")
                self.event("PeerForgot", {"from": first, "to": last})
            else:
                self.event("PeerForgot", {"from": first, "to": self.next() - 1})
        if self.keeps_sent:
            self.save()
        return moved

    def contact(self, boot):
        """A welcome was sent or received: the sender is contacted (section 1.3)."""
        if not self.contacted or self.contact_boot != boot:
            self.contacted, self.contact_boot = True, boot
            if self.keeps_sent:
                self.save()

    def receiver_rows(self, peer):
        """Section 6.3, for the greeting `peer`."""
        base, had = peer["base"], self.peer_epoch
        if had == peer["epoch"]:
            if base > self.accepted:
                if base > self.received:
                    self.event("Lost", {"from": self.received + 1, "to": base, "direction": "in"})
                    self.received = base
                self._accepted_is(base, peer["bsum"])
        else:
            self.peer_epoch = peer["epoch"]
            self.received = base
            self.inbox = self.inbox[:self.window]  # room for one window of an older epoch
            self._accepted_is(base, peer["bsum"])
            if had:
                self.event("PeerReset", {})
            if self.keeps_seen and base:
                self.event("Lost", {"from": 1, "to": base, "direction": "in"})  # HL-0159
        if self.keeps_seen:
            self.save()

    def deliver(self, n, text):
        """Message received+1 has come."""
        self.received = n
        self.total_received = self.forward(self.total_received, [text])
        self.inbox.append(Incoming(text, self.peer_epoch, n, self.total_received))
        self.notify()

    def deliver_datagram(self, text):
        """A datagram has come; it is dropped when a window of them waits (HL-0092)."""
        if sum(1 for m in self.inbox if m.n is None) < self.window:
            self.inbox.append(Incoming(text))
            self.notify()

    def prune(self, n):
        """The peer has accepted all up to `n`."""
        if n > self.acked:
            self._drop(n - self.acked, "acked")
            if self.keeps_sent:
                self.save()

    def event(self, name, info):
        """Reports to the application."""
        self.events.append((name, info))
        del self.events[:-200]
        if self.on_event:
            self.on_event(name, info)
        self.notify()

    def notify(self):
        """Wakes all that wait in `changed`."""
        waiters, self.waiters = self.waiters, []
        for event in waiters:
            event.set()

    def check_text(self, text):
        """Refuses what cannot be a message of this session's profile."""
        if not isinstance(text, str) or "\n" in text or ("" == text if self.classic_text else "\0" in text):
            raise Refused("not-text", "a text has no LF; no NUL (native); it is not empty (classic)")
        try:
            data = text.encode()
        except ValueError:
            data = b"\xff"
        if to_text(data) is None:
            raise Refused("not-text", "the text is not UTF-8")
        if len(data) > self.text_max:
            raise Refused("too-long", "the text has %d bytes; %d are allowed" % (len(data), self.text_max))

    def _was_on_wire(self, i):
        return self.outbox[i].id is not None or self.acked + 1 + i <= self.high

    def _output(self):
        if self.link:
            self.link.output()

    def _accepted_is(self, base, total):
        self.accepted, self.total = base, total
        for m in self.given + self.inbox:
            if m.n is not None and m.epoch == self.peer_epoch and m.n > base:
                m.total = total = self.forward(total, [m.text])
        self.total_received = total

    def _differs(self, total, upto):
        if total is None or self.own_sum is None:
            return False
        return self.forward(self.own_sum, [m.text for m in self.outbox[:upto - self.acked]]) != total

    def _start_over(self):
        """Rows 2 and 3: this side's memory is older than the peer's."""
        dropped = self.high - self.acked if self.policy == "skip" else 0
        self._drop(dropped, "dropped")
        self.begin_sending()
        for m in self.outbox:
            m.id = None
        self.event("OwnReset", {"dropped": dropped})

    def _drop(self, count, how):
        gone, self.outbox = self.outbox[:count], self.outbox[count:]
        self.own_sum = self.forward(self.own_sum, [m.text for m in gone])
        self.acked += count
        for m in gone:
            m.done = how
        self.notify()

    def _put_back(self, before):
        self.accepted, self.total, self.memo = before

    def _save_or(self, undo):
        try:
            self.save()
        except OSError:
            undo()
            raise

    def save(self):
        """All that is kept, in one step (HL-0078, HL-0079)."""
        if self.keeps == "none":
            return
        memory = {}
        if self.keeps_sent:
            memory["sent"] = [self.epoch, self.acked, self.own_sum, self.contacted, self.contact_boot,
                              [m.text for m in self.outbox]]
        if self.keeps_seen:
            memory["seen"] = [self.peer_epoch, self.accepted, self.total, self.memo]
        self.store.save(memory)

    def _restore(self, memory):
        if self.keeps_sent and "sent" in memory:
            self.epoch, self.acked, self.own_sum, self.contacted, self.contact_boot, texts = memory["sent"]
            self.outbox = [Message(text) for text in texts]
            self.high = self.next() - 1
        if self.keeps_seen and "seen" in memory:
            self.peer_epoch, self.accepted, self.total, self.memo = memory["seen"]
            self.received, self.total_received = self.accepted, self.total
        self.save()  # a new epoch counts from its first start on


class Fault(Exception):
    """The peer broke the rule of this name (section 13.1)."""


class Link:
    """One connection that carries a session, native profile; the handshake is in the classes for client and server.

    Three tasks: one reads, one writes, one waits for timers. Lines are made when the transport is ready for them, so that
    nothing waits behind what a stalled peer does not take.
    """

    first_line_max = HELLO_MAX
    hands_over = False  # whether the stream lives on, with another link
    hello_again = refused_by_stranger = False  # why a client's link ended: HL-0069, HL-0014

    def __init__(self, session, reader, writer):
        self.session, self.reader, self.writer = session, reader, writer
        self.timeout = session.timeout
        self.checked = session.checked
        self.bad_checks = 0
        self.partial = bytearray()
        self.skipping = False
        self.reads, self.unsent_from, self.unsent_size = 0, None, 0
        self.reason, self.bye, self.says_bye, self.retry = None, None, False, 0
        self.wake, self.room = asyncio.Event(), asyncio.Event()  # look at the timers; look at what is to be sent
        self.restart()

    def restart(self):
        """All that belongs to the link afresh (HL-0108). On a checked stream several links follow each other."""
        self.state, self.up, self.up_at = "hello", False, None
        self.lines = []  # to be sent before anything else
        self.deadlines = {}  # name: when
        self.sent, self.peer_window, self.peer_max = 0, 0, 0
        self.ack_due = self.rewind_due = self.probe_due = self.keepalive_due = self.gap = self.blocked = False

    async def run(self):
        """Carries the session until the link ends; returns the reason, a word of section 11."""
        transport = getattr(self.writer, "transport", None)
        if transport:
            transport.set_write_buffer_limits(0)  # drain() then returns when the kernel has taken everything
        reading, writing = asyncio.create_task(self._read()), asyncio.create_task(self._write())
        try:
            await self._watch()
            if self.says_bye:
                await self._quietly(writing, min(self.timeout, 1000))
                if self.unsent_from is None and transport and transport.can_write_eof():
                    await self._quietly(self._linger(transport, reading), 300)
        finally:
            self.end("done")
            reading.cancel()
            writing.cancel()
            if not self.hands_over:
                self._close(transport)
        return self.reason

    def end(self, reason, bye=None, fault=False):
        """Ends the link, once. `bye`: the rest of the B line to send as the last one."""
        if self.reason is None:
            self.reason, self.bye, self.says_bye, self.lines = reason, bye, bye is not None, []
            if fault:
                self.session.faults[reason] = self.session.faults.get(reason, 0) + 1
                self.session.event("fault", {"fault": reason})
            self.down(reason)
            self.wake_up()

    def close(self, bye="done"):
        """Ends the link in good order: what is due as an ack goes out first (HL-0126, HL-0129)."""
        line = self._ack() if self.up and self.ack_due else None
        self.end("done" if bye == "done" else "closing", bye)
        if line is not None:
            self.lines.append(line)

    def down(self, reason):
        """Takes the link from the session and tells the application, if it was up (HL-0141)."""
        was_up, self.up, self.state = self.up, False, "closed"
        if self.session.link is self:
            self.session.link, self.session.datagrams = None, []  # HL-0091
        if was_up:
            self.session.event("down", {"reason": reason})

    def established(self, peer, state):
        """The handshake is made: from here on T, keepalives and silence count (HL-0103, HL-0104)."""
        s = self.session
        s.link, s.peer_keeps, self.state = self, peer["keeps"], state
        self.peer_window, self.peer_max, self.sent = peer["window"], peer["max"], s.acked
        self.deadlines = {}
        self.after("silence", self.timeout)
        self.after("keepalive", self.timeout // 4)

    def come_up(self):
        """Tells the application, and lets messages go."""
        self.state, self.up, self.up_at = "up", True, now()
        self.session.links += 1
        self.session.datagrams = []
        self.session.event("up", {})
        self.wake_up()

    def after(self, name, ms):
        """Starts a timer afresh."""
        self.deadlines[name] = now() + ms

    def stop(self, name):
        """Stops a timer, if it runs."""
        self.deadlines.pop(name, None)

    def output(self):
        """There is something to send."""
        self.room.set()

    def wake_up(self):
        """Something has happened: timers and output are looked at again."""
        self.wake.set()
        self.room.set()

    def on_accept(self, accepted):
        """The application has accepted: an ack is due if the cursor can have moved (HL-0082)."""
        if any(m.n is not None and m.epoch == self.session.peer_epoch for m in accepted):
            self.ack_due = True
            self.output()

    # Lines that come (sections 2 and 13.1)

    def feed(self, data):
        """Handles bytes of the peer, however they are cut (HL-0002)."""
        if self.state != "hello":
            self.after("silence", self.silence_limit())
            if self.session.on_heard:
                self.session.on_heard()
        pieces = data.split(b"\n")
        for i in range(len(pieces)):
            if self.reason is not None:
                return  # HL-0122, and nothing after a fault
            self.partial.extend(pieces[i])
            limit = self.first_line_max if self.state == "hello" else self.session.max
            long, whole = len(self.partial) > limit, i + 1 < len(pieces)
            if self.checked and (long or self.skipping):  # HL-0102
                self.skipping = not whole
                self.bad_checks += 1 if whole else 0
                self.partial = bytearray()
            elif long:
                self.on_long()
                return
            elif whole:
                line, self.partial = bytes(self.partial), bytearray()
                self.stop("slow")
                self._line(line)
        if (self.partial or self.skipping) and self.state != "hello":
            if "slow" not in self.deadlines:
                self.after("slow", 4 * self.timeout)

    def on_long(self):
        """A line is longer than allowed (HL-0145)."""
        self.fault("long")

    def fault(self, name):
        """HL-0142."""
        self.end(name, name, True)

    def quiet_time(self):
        """How long a client must stay away after this link, in ms (classic: HL-0139)."""
        return 0

    def silence_limit(self):
        """How long the peer may be silent, in ms."""
        return self.timeout

    def _line(self, line):
        if self.checked and line:
            at = len(line) - 9
            if at < 0 or line[at:] != b"*%08x" % crc(line[:at]):
                self.bad_checks += 1  # HL-0098
                return
            line = line[:at]
        if self.state == "hello":
            self.first_line(line)
            return
        if self.state == "confirming" and line[:1] != b"B" and not (self.checked and line[:7] == b"HOLD/1 "):
            self.adopt()  # HL-0059
        try:
            self.frame(line)
        except Fault as e:
            self.fault(e.args[0])

    def frame(self, line):
        """One line of an established link; raises Fault."""
        if not line:
            return
        if line[:1] == b"B":
            self._on_bye(line)
            return
        text = to_text(line)
        if text is None:
            raise Fault("utf8")
        if "\0" in text:
            raise Fault("nul")
        kind, rest = text[0], text[1:]
        if kind == "M":
            at = rest.find(" ")
            self._on_message(self._seq(rest[:at] if at >= 0 else ""), rest[at + 1:])
        elif kind == "A":
            self._on_ack(self._seq(rest))
        elif kind == "D" and rest[:1] == " ":
            self.session.deliver_datagram(rest[1:])
        elif kind == "R":
            self._on_rewind(self._seq(rest))
        elif kind == "P":
            self._on_probe(self._seq(rest))
        elif text[:5] == "HOLD/":
            self.greeting_mid_link(text)
        else:
            raise Fault("frame")

    def _on_bye(self, line):  # HL-0025: whatever follows the B
        words = [to_text(word) for word in line[1:].split(b" ")]
        retry = words[1] if len(words) > 1 else None
        self.retry = (to_number(retry[6:]) if retry and retry[:6] == "retry=" else None) or 0
        self.end(words[0] if words[0] and is_code(words[0]) else "unknown")

    def greeting_mid_link(self, text):
        """A line that begins HOLD/ on an established link (HL-0153)."""
        raise Fault("hello")

    def _seq(self, text):
        n = to_number(text, SEQ)
        if n is None:
            raise Fault("number")
        return n

    def _on_message(self, n, text):  # section 5.3
        s = self.session
        if n > s.accepted + s.window:
            raise Fault("window")
        if n <= s.received:
            if n <= s.accepted:
                self.ack_due = True  # HL-0081
        elif n == s.received + 1:
            self.gap = False
            self.stop("rewind")
            s.deliver(n, text)
        elif not self.gap:
            self._ask_again()

    def _ask_again(self):  # HL-0093
        self.gap = self.rewind_due = True
        self.after("rewind", self.timeout // 4)

    def _on_ack(self, n):
        s = self.session
        if n > s.high:
            raise Fault("ack")
        self.stop("answer")
        if n > s.acked:
            s.prune(n)
            self.sent = max(self.sent, n)
            self._progress()

    def _on_rewind(self, n):
        s = self.session
        if not s.acked < n <= s.next():
            raise Fault("rewind")
        self.stop("answer")
        self.sent = n - 1  # HL-0094
        self._progress()

    def _on_probe(self, n):  # HL-0096
        if n <= self.session.received:
            self.ack_due = True
        else:
            self._ask_again()

    def _progress(self):
        if self.sent > self.session.acked:
            self.after("probe", self.timeout // 2)
        else:
            self.stop("probe")

    # Lines that go

    def next_line(self):
        """The next line to send, or None. Controls first; an ack says all that was accepted until now (HL-0082)."""
        s = self.session
        if self.lines:
            return self.lines.pop(0)
        if self.reason is not None:
            bye, self.bye = self.bye, None
            return None if bye is None else "B" + bye
        if self.up:
            if self.ack_due:
                return self._ack()
            if self.rewind_due:
                self.rewind_due = False
                return "R%d" % (s.received + 1)
            if self.probe_due:
                self.probe_due = False
                return "P%d" % self.sent
            line = self._next_message()
            if line is not None:
                return line
            if s.datagrams:
                return "D " + s.datagrams.pop(0)
        return "" if self.keepalive_due else None

    def _ack(self):
        self.ack_due = False
        return "A%d" % self.session.accepted

    def _next_message(self):
        s = self.session
        if self.sent >= s.next() - 1 or self.sent >= s.acked + self.peer_window:
            return None
        n = self.sent + 1
        text = s.outbox[n - s.acked - 1].text
        if len(text.encode()) > self.text_max():  # HL-0087
            if self.blocked != n:
                self.blocked = n
                s.event("Blocked", {"seq": n, "len": len(text.encode()), "max": self.text_max()})
            return None
        self.sent = n
        s.high = max(s.high, n)
        if n == s.acked + 1:
            self._progress()
        return "M%d %s" % (n, text)

    def text_max(self):
        """The longest text that the peer can receive on this link, in bytes (section 2)."""
        return self.peer_max - self.session.overhead

    def _pull(self):
        chunk = b""
        while len(chunk) < 1024:
            line = self.next_line()
            if line is None:
                break
            data = line.encode()
            if data and self.checked:
                data += b"*%08x" % crc(data)  # HL-0097
            chunk += data + b"\n"
            self.keepalive_due = False
            if self.state not in ("hello", "closed"):
                self.on_sent()
        return chunk

    def on_sent(self):
        """A line goes out: the keepalive can wait (HL-0103)."""
        self.after("keepalive", self.timeout // 4)

    # Tasks

    async def _read(self):
        try:
            while True:
                data = await self.reader.read(1024)
                if not data:
                    self.end("end-of-stream")
                    return
                self.reads += 1
                self.feed(data)
                self.wake_up()
                if self.hands_over:
                    return
                await self.may_read()
        except OSError:
            self.end("transport")

    async def may_read(self):
        """Waits until the next bytes are wanted; others get their turn."""
        await asyncio.sleep(0)

    async def _write(self):
        try:
            while True:
                chunk = self._pull()
                if chunk:
                    self.unsent_from, self.unsent_size = now(), len(chunk)
                    self.writer.write(chunk)
                    await self.writer.drain()
                    self.unsent_from = None
                    self.wake.set()
                elif self.reason is not None:
                    return
                else:
                    await self.room.wait()
                    self.room.clear()
        except OSError:
            self.end("transport")

    async def _watch(self):
        while self.reason is None:
            due = self._expired()
            if any(name in self.fatal for name in due):
                await self._settle()  # HL-0105: what has come counts before silence is judged
                due = self._expired()
            for name in due:
                if self.reason is None:
                    self.deadlines.pop(name, None)
                    self.expired(name)
                    self.room.set()
            left = min(list(self.deadlines.values()) + [self._stall_at(), now() + 60000]) - now()
            await wait(self.wake, max(left, 1))
            self.wake.clear()

    fatal = ("hello", "silence", "stall", "slow", "answer")

    def expired(self, name):
        """A timer has run out (section 3.3)."""
        if name == "keepalive":
            self.keepalive_due = True
        elif name == "probe":
            self.probe_due = True
            self.after("probe", self.timeout // 2)
            if "answer" not in self.deadlines:
                self.after("answer", self.timeout)
        elif name == "rewind":
            self._ask_again()
        elif name == "answer":
            self.fault("mute")
        elif name == "slow":
            self.fault("slow")
        elif name in ("silence", "stall"):
            self.end(name)
        elif name == "hello":
            self.hello_expired()

    def _expired(self):
        t = now()
        due = [name for name, at in self.deadlines.items() if at <= t]
        return due + (["stall"] if self._stall_at() <= t else [])

    def _stall_at(self):  # HL-0106
        if self.unsent_from is None:
            return now() + 60000
        transport = getattr(self.writer, "transport", None)
        size = transport.get_write_buffer_size() if transport else self.unsent_size
        if size < self.unsent_size:
            self.unsent_from, self.unsent_size = now(), size
        return self.unsent_from + self.timeout

    async def _settle(self):
        for _ in range(50):
            reads = self.reads
            await asyncio.sleep(0.002)
            await asyncio.sleep(0.002)
            if reads == self.reads:
                return

    async def _linger(self, transport, reading):
        """Reads and drops what the peer still sends: closed at once, the connection could be reset before the bye arrives."""
        transport.write_eof()
        await reading

    async def _quietly(self, task, ms):
        try:
            await asyncio.wait_for(task, ms / 1000)
        except (asyncio.TimeoutError, OSError):
            pass

    def _close(self, transport):
        if transport is None:
            self.writer.close()
            if hasattr(self.writer, "s"):
                self.writer.s.close()  # MicroPython: close() alone leaves the socket open
        elif self.unsent_from is not None:
            transport.abort()
        else:
            self.writer.close()


class ClientLink(Link):
    """The client's side of a native link: hello, welcome or refusal (section 6.1)."""

    def __init__(self, client, reader, writer):
        super().__init__(client, reader, writer)
        self.say_hello()

    def say_hello(self):
        """The first line of a link (HL-0024)."""
        s = self.session
        self.timeout = s.timeout
        line = "HOLD/1 client=%s %s" % (s.id, s.greeting(s.timeout))
        self.number = None
        if self.checked:
            self.number = random64()
            line += " link=%d" % self.number  # HL-0161
        self.said = (s.epoch, s.acked)
        self.lines = [line]
        self.after("hello", max(self.timeout, 5000))
        self.output()

    def hello_expired(self):
        """No answer (HL-0107); a checked stream may have lost it (HL-0101)."""
        if self.checked:
            self.say_hello()
        else:
            self.end("hello-timeout")

    def first_line(self, line):
        """The answer of the server."""
        text = to_text(line)
        if self.checked and (text is None or text[:5] != "HOLD/"):
            return  # HL-0101
        if text is None or text[:7] != "HOLD/1 ":
            self.refused_by_stranger = True
            self.end("not-holdline")
            self.session.event("NotHoldline", {})  # HL-0014
        elif text[:10] == "HOLD/1 ok ":
            self._welcome(text[10:])
        else:
            self._refusal(text[7:])

    def on_long(self):
        """No welcome is longer than 512 bytes."""
        if self.state == "hello" and self.partial[:7] != b"HOLD/1 ":
            self.first_line(b"")
        else:
            self.fault("hello" if self.state == "hello" else "long")

    def greeting_mid_link(self, text):
        """On a checked stream a welcome that was late: the hello is said again (HL-0101)."""
        if not self.checked or text[:10] != "HOLD/1 ok ":
            raise Fault("hello")
        self.down("reset")
        self.restart()
        self.say_hello()

    def _is_ours(self, fields):
        return not self.checked or (split_fields(fields, ("link",)) or {}).get("link") == "%d" % self.number  # HL-0163

    def _welcome(self, fields):
        if not self._is_ours(fields):
            return
        peer = read_greeting(fields, False)
        if peer is None:
            self.fault("hello")
            return
        s = self.session
        moved = s.sender_rows(peer)
        s.contact(peer["boot"])
        if moved and self.said != (s.epoch, s.acked):
            self.hello_again = True
            self.end("reset", "reset")  # HL-0069
            return
        s.receiver_rows(peer)
        self.timeout = peer["timeout"]
        self.established(peer, "up")
        self.lines = [""]  # HL-0060
        self.come_up()

    def _refusal(self, text):
        fields = split_fields(text[3:], ("code", "retry")) if text[:3] == "no " else None
        code = (fields or {}).get("code", "")
        if not is_code(code):
            self.fault("hello")
            return
        self.retry = to_number(fields.get("retry", "0")) or 0
        self.end("refused")
        self.session.event("Refused", {"code": code, "retry": self.retry})  # HL-0156


async def open_tcp(host, port):
    """The stream of a link: a reader with `read` and a writer with `write`, `drain` and `close`."""
    return await asyncio.open_connection(host, port)


UNREACHABLE = (101, 113, 110, 118, 10051, 10060, 10065)  # ENETUNREACH, EHOSTUNREACH, ETIMEDOUT and the like


class Client(Session):
    """A session with a server, and the supervisor that connects it (sections 5.4 and 11).

    `open(host, port)` opens the stream, TCP if it is not given (a UART, say, with check="crc32"). `network`, if given, has
    `async join()` (True when it succeeded), `async leave()` and `is_up()`; holdline_wifi.py is one. `fallback` and `profile`
    name a classic profile, which needs holdline_classic.py. `bad_wifi` and `bad_server` are called before the first success;
    when they return True, the client stops. The other settings are those of Session.
    """

    def __init__(self, host, port, id, open=open_tcp, network=None, profile="native", fallback="none", in_order=True,
                 backoff=(500, 30000), bad_wifi=None, bad_server=None, **settings):
        for name in (profile, fallback):
            if name not in ("native", "classic-2019", "classic-2020", "none"):
                raise Refused("setting", "no profile %r" % name)
        in_range("backoff base", backoff[0], 1, 1 << 40)
        in_range("backoff cap", backoff[1], backoff[0], 1 << 40)
        if profile == "native" and not is_client_id(id):
            raise Refused("setting", "client id %r: 1 to 64 printable characters, no blank, no =" % id)
        if profile == "classic-2019":
            settings["timeout"] = settings.get("timeout", 1500)
        super().__init__(**settings)
        self.host, self.port, self.id, self.open, self.network = host, port, id, open, network
        self.profile, self.fallback, self.backoff = profile, fallback, backoff
        self.bad_wifi, self.bad_server = bad_wifi, bad_server
        self.joined, self.stopped, self.ever_joined = network is None, False, False
        self.failures = self.network_failures = 0
        self.task = self.current = None
        self.classic = None
        if profile != "native":
            self._go_classic(profile, in_order)

    def start(self):
        """Starts the supervisor as a task of the running loop, and returns the client."""
        self.task = asyncio.create_task(self.run())
        return self

    async def close(self):
        """Closes the link in good order and connects no more. What is held stays held."""
        self.stopped = True
        if self.current:
            self.current.close()
        self.notify()
        if self.task:
            await self.task

    def network_lost(self):
        """The network is gone: the link is closed, the network joined again (HL-0138)."""
        self.joined = False
        if self.current:
            self.current.end("network")
        self.notify()

    async def run(self):
        """Joins the network and connects, for ever, or until `close`."""
        not_before = 0
        while not self.stopped:
            if self.network and not self.joined and not await self._join():
                await self._pause(self._backoff_wait())
                continue
            if not self.joined:
                self.joined, self.failures = True, 0
                await self._pause(max(random_up_to(self.timeout // 4), not_before - now()))
            while self.joined and not self.stopped:
                if self.network and not self.network.is_up():
                    self.joined = False
                    break
                wait, at_least = await self._attempt()
                not_before = now() + min(at_least, 3600000)  # HL-0134
                if self.network_failures >= 3:  # HL-0137
                    self.network_failures = 0
                    self.joined = not self.network
                    if self.network:
                        await self.network.leave()
                        break
                if self.joined:
                    await self._pause(max(wait, not_before - now()))

    async def _join(self):
        if await self.network.join():
            self.ever_joined = True
            return True
        if not self.ever_joined and self.bad_wifi and self.bad_wifi():
            self.stopped = True
        return False

    async def _attempt(self):
        """One connection, to its end: how long to wait now, and how long at least."""
        try:
            stream = await asyncio.wait_for(self.open(self.host, self.port), max(self.timeout, 5000) / 1000)  # HL-0135
        except (OSError, asyncio.TimeoutError) as e:
            late = isinstance(e, asyncio.TimeoutError) or (e.args and e.args[0] in UNREACHABLE)
            self.network_failures = self.network_failures + 1 if late else 0  # HL-0136
            return self._failed(), 0
        if self.stopped or not self.joined:
            stream[1].close()
            return 0, 0
        self.current = link = self.classic(self, *stream) if self.classic else ClientLink(self, *stream)
        try:
            await link.run()
        finally:
            self.current = None
        self.network_failures = 0
        at_least = max(link.retry, link.quiet_time())
        if link.hello_again:
            return 0, 0
        if link.refused_by_stranger and self.fallback != "none":  # HL-0015
            self._go_classic(self.fallback, True)
        if link.up_at is not None and now() - link.up_at >= 3 * link.timeout:  # HL-0131, HL-0133
            self.failures = 0
            return random_up_to(link.timeout // 4), at_least
        return self._failed(), at_least

    def _failed(self):
        if not self.links and self.bad_server and self.bad_server():  # HL-0140
            self.stopped = True
        return self._backoff_wait()

    def _backoff_wait(self):  # HL-0132
        base, cap = self.backoff
        wait = random_up_to(min(cap, base << min(self.failures, 30)))
        self.failures += 1
        return wait

    async def _pause(self, ms):
        """Waits, but not longer than the client runs and the network is there."""
        until, joined = now() + ms, self.joined
        while now() < until and not self.stopped and self.joined == joined:
            await self.changed(max(until - now(), 1))

    def _go_classic(self, profile, in_order):
        from holdline_classic import client_link

        self.profile = profile
        self.classic = client_link(self, profile, in_order)
