"""The classic profiles of Holdline: the wire of micropython-iot, of 2019 and of 2020, for both ends.

Needed beside holdline_client.py for a client with `profile` or `fallback`, and beside holdline_server.py when old devices
come. Sections 4.2 to 4.4 and 5.5 of SPEC.md.
"""

from holdline_client import Fault, Incoming, Link, Refused, now, to_text

OUTSTANDING = 100  # HL-0037
CLIENT_LINE = 4095  # bytes, HL-0032


class Stream:
    """What a classic session keeps over links: the count of its own ids, and the list of the peer's."""

    def __init__(self):
        self.next_id = 0
        self.newest = None  # None: no list yet
        self.seen = [False] * 256
        self.pending = {}  # id: Incoming that the application has not accepted

    def draw(self):
        """The id of the next new message (HL-0028)."""
        id = self.next_id
        self.next_id = 1 if id == 255 else id + 1
        return id

    def is_new(self, id, on_link):
        """Whether a message of this id is new (HL-0033 … HL-0036); `on_link`: the ids received on this link."""
        if self.newest is None:
            return True
        if id == 0:
            return 0 not in on_link
        return 1 <= self._ahead(id) <= 127 or not self.seen[id]

    def take(self, id, on_link):
        """Notes the id of a new message."""
        if self.newest is None:
            self.newest = id
        elif id == 0:  # the peer has power-cycled
            self.seen = [i in on_link for i in range(256)]
            self.pending = {i: m for i, m in self.pending.items() if i in on_link}
            if not on_link:
                self.newest = 0
        else:
            ahead = self._ahead(id)
            if 1 <= ahead <= 127:
                for d in range(1, ahead):
                    self.seen[((self.newest or 255) + d - 1) % 255 + 1] = False
                self.newest = id
        self.seen[id] = True

    def _ahead(self, id):
        return (id - (self.newest or 255)) % 255


class ClassicLink(Link):
    """One connection in a classic profile; `rest`: what came in the segment of the id line (HL-0027)."""

    def __init__(self, session, reader, writer, profile, stream, in_order, timeout, is_client, rest=b""):
        super().__init__(session, reader, writer)
        self.checked = False
        self.timeout, self.stream, self.is_client, self.rest = timeout, stream, is_client, rest
        self.acks_used = profile == "classic-2020"
        self.limit = 1 if in_order else OUTSTANDING
        self.on_link = set()  # ids received on this link
        self.on_wire = {}  # id: when it was last sent on this link
        self.acks = []
        self.last_read, self.had_line, self.may_send = None, False, False
        self.state = "open"
        self.period = timeout // 4 if self.acks_used else 2 * timeout // 3 if is_client else timeout // 2
        self.after("silence", self.silence_limit())
        if is_client:
            self.lines = [session.id]  # HL-0026
            self.after("keepalive", self.period if self.acks_used else timeout // 3)
        elif self.acks_used:
            self.lines = [""]  # HL-0051
            self.after("keepalive", self.period)
        else:
            self.after("keepalive", 200)  # HL-0057

    async def run(self):
        """As of Link."""
        if not self.is_client:
            self._up()
        if self.rest:
            self.feed(self.rest)
        return await super().run()

    def _up(self):
        self.session.link, self.session.peer_keeps = self, None
        self.come_up()

    def close(self, bye=None):
        """Ends the link; the classic wire has no word for it. What was accepted is acked."""
        acks = ["%02x" % id for id in self.acks]
        self.end("closing" if bye and bye != "done" else "done")
        self.lines, self.says_bye = acks, True

    def fault(self, name):
        """Closes this link, with nothing said to the peer (HL-0031)."""
        self.end(name, None, True)

    def end(self, reason, bye=None, fault=False):
        """As of Link; no B line is ever sent."""
        super().end(reason, None, fault)

    def feed(self, data):
        """As of Link."""
        self.last_read = now()
        if self.is_client and not self.up and self.reason is None:
            self._up()  # the first byte
            self.may_send = self.acks_used or self.may_send  # HL-0048
        elif not self.is_client and self.acks_used and not self.may_send and "gate" not in self.deadlines:
            self.after("gate", 200)  # HL-0049
        super().feed(data)
        if not self.acks_used:
            self._count_delivered()

    def silence_limit(self):
        """T; twice that for a 2020 client until the first line (HL-0052)."""
        return self.timeout * (2 if self.is_client and self.acks_used and not self.had_line else 1)

    def text_max(self):
        """What the peer can receive is not known."""
        return self.session.text_max

    def quiet_time(self):
        """HL-0139."""
        return 2 * self.timeout

    def frame(self, line):
        """One line of the peer."""
        if not self.had_line:
            self.had_line = True
            self.after("silence", self.silence_limit())
        if not line:
            return
        text = to_text(line)
        if text is None:
            raise Fault("utf8")
        if len(text) < 2 or not all(c in "0123456789abcdefABCDEF" for c in text[:2]):
            raise Fault("frame")  # HL-0030
        id = int(text[:2], 16)
        if self.acks_used and len(text) == 2:
            self._on_ack(id)
        else:
            self._on_text(id, text[2:])

    def _on_ack(self, id):
        for m in self.session.outbox:
            if m.id == id:
                self._delivered(m)
                return

    def _delivered(self, m):
        s = self.session
        self.on_wire.pop(m.id, None)
        s.outbox.remove(m)
        m.done = "acked"
        s.notify()
        if s.keeps_sent:
            s.save()
        self.output()

    def _on_text(self, id, text):
        s, stream = self.session, self.stream
        if stream.is_new(id, self.on_link):
            if self.acks_used and self._full():
                return  # HL-0044
            stream.take(id, self.on_link)
            m = Incoming(text, None, id)  # of no epoch: it moves no native cursor
            m.link = self
            stream.pending[id] = m
            s.inbox.append(m)
            s.notify()
        elif id in stream.pending:
            stream.pending[id].link = self  # it will be acked here
        elif self.acks_used:
            self.acks.append(id)  # HL-0043
        self.on_link.add(id)

    def on_accept(self, accepted):
        """The application has accepted: the acks (HL-0042). A message of an older link is acked when it comes again here:
        until then its id could be that of another one."""
        for m in accepted:
            if self.stream.pending.get(m.n) is m:
                del self.stream.pending[m.n]
                if self.acks_used and m.link is self:
                    self.acks.append(m.n)
        self.output()

    def _full(self):
        return len(self.session.inbox) + len(self.session.given) >= self.session.window

    async def may_read(self):
        """2019: waits for room, and does not take that time for silence (HL-0055)."""
        await super().may_read()
        if not self.acks_used and self._full():
            slow = "slow" in self.deadlines
            self.stop("silence")
            self.stop("slow")
            while self._full():
                await self.session.changed()
            self.after("silence", self.timeout)
            if slow:
                self.after("slow", 4 * self.timeout)
            self.wake_up()

    # Lines that go

    def next_line(self):
        """The next line to send, or None."""
        if self.lines:
            return self.lines.pop(0)
        if self.reason is not None:
            return None
        if self.acks and self.up:
            return "%02x" % self.acks.pop(0)
        if self.up and self.may_send:
            line = self._next_message()
            if line is not None:
                return line
        return "" if self.keepalive_due else None

    def _next_message(self):
        s, t = self.session, now()
        out = [m for m in s.outbox if m.id is not None]
        for m in out:  # HL-0040, HL-0045
            if m.id not in self.on_wire or (self.acks_used and t - self.on_wire[m.id] >= self.timeout):
                return self._put(m.id, m.text, True)
        if len(out) < self.limit and len(out) < len(s.outbox):
            m = s.outbox[len(out)]
            m.id = self.stream.draw()  # HL-0029
            return self._put(m.id, m.text, True)
        if s.datagrams:
            return self._put(self.stream.draw(), s.datagrams.pop(0), False)  # HL-0047
        return None

    def _put(self, id, text, reliable):
        if reliable:
            self.on_wire[id] = now()
            self._watch_oldest()
        return "%02x%s" % (id, text)

    def _watch_oldest(self):
        if self.on_wire:
            self.deadlines["again"] = min(self.on_wire.values()) + self.timeout
        else:
            self.stop("again")
        self.wake_up()

    def _count_delivered(self):  # HL-0054
        t = now()
        for m in list(self.session.outbox):
            at = self.on_wire.get(m.id)
            if at is not None and t >= at + self.timeout and self.last_read is not None:
                if self.last_read >= at + self.timeout // 2:
                    self._delivered(m)

    def on_sent(self):
        """Only a 2020 client's keepalive waits for quiet (HL-0050)."""
        if self.is_client and self.acks_used:
            self.after("keepalive", self.period)

    def expired(self, name):
        """A timer has run out."""
        if name == "keepalive":
            if not (self.is_client and self.acks_used):
                self.after("keepalive", self.period)
                self.lines.append("")
                if not self.acks_used:
                    self.may_send = True  # HL-0056, HL-0057
            else:
                self.keepalive_due = True
        elif name == "gate":
            self.may_send = True
        elif name == "again":
            if not self.acks_used:
                self._count_delivered()
            later = [at for at in self.on_wire.values() if at + self.timeout > now()]
            if later:
                self.deadlines["again"] = min(later) + self.timeout
        else:
            super().expired(name)


def speak_classic(session, line_max):
    """From here on the texts of `session` are those of the classic profiles (HL-0007); held ones that are none are dropped."""
    session.classic_text, session.text_max = True, line_max - 2
    _drop_unfit(session)


def speak_native(session):
    """From here on the texts of `session` are those of the native profile."""
    session.classic_text, session.text_max = False, session.max - session.overhead
    _drop_unfit(session)


def _drop_unfit(session):
    for m in list(session.outbox):
        try:
            session.check_text(m.text)
        except Refused:
            session.outbox.remove(m)
            m.done = "dropped"
    session.notify()


def client_link(client, profile, in_order):
    """Makes a client speak a classic profile from here on; returns what makes its links."""
    client.begin_sending()
    for m in client.outbox:
        m.id = None
    speak_classic(client, min(client.max, CLIENT_LINE))
    stream = Stream()

    def link(session, reader, writer):
        return ClassicLink(session, reader, writer, profile, stream, in_order, session.timeout, True)

    return link
