"""A Holdline server: sessions with many devices on one port. Written from SPEC.md alone; no dependencies.

    server = await Server("127.0.0.1", 8123).start()
    door = server.client("door-1")       # known from now on, whether it has come or not
    await door.write("open")             # returns True when the door's application has it, through any outage
    print(await door.readline())

Needs holdline_client.py beside it, where the session and the link are, and holdline_classic.py to serve classic devices.
CPython 3.8 and later; MicroPython where `asyncio.start_server` exists.
"""

import os

from holdline_client import (
    HELLO_MAX, KEEPS, FileStore, Link, Refused, Session, asyncio, in_range, now, random_up_to, read_greeting,
    to_text)

PROFILES = ("native", "classic-2020", "classic-2019")


class Peer(Session):
    """The session with one client: `write`, `send`, `datagram`, `readline`, `status`, … as of Session."""

    def __init__(self, server, id, **settings):
        super().__init__(**settings)
        self.server, self.id = server, id
        self.profile, self.stream = "native", None  # stream: the ids of a classic session
        self.takeovers = []  # until when those by another boot are remembered
        self.visitor = None  # the boot that the client of the open link said
        self.task = None

    async def close(self):
        """Closes the link in good order (HL-0129). The session stays, and the client may come back."""
        if self.link:
            self.link.close()

    def become(self, profile, stream):
        """A new session, with the messages that are held, when the client comes back in another profile (HL-0013)."""
        if self.profile != profile:
            self.profile, self.stream = profile, stream
            self.begin_sending()
            self.begin_receiving()
            for m in self.outbox:
                m.id = None
            from holdline_classic import speak_classic, speak_native

            if stream:
                speak_classic(self, self.max)
            else:
                speak_native(self)

    def guarded(self, boot):
        """How long, in ms, a newcomer with this boot is to stay away (HL-0123; HL-0124: boot is None); 0: it is let in."""
        if not self.link or (boot is not None and boot == self.visitor):
            return 0
        self.takeovers = [until for until in self.takeovers if until > now()]
        if len(self.takeovers) >= 3:
            return 2 * self.link.timeout
        self.takeovers.append(now() + 10 * self.link.timeout)
        return 0


class ServerLink(Link):
    """The server's side of a native link; until the first line has come, of a link of any profile."""

    def __init__(self, server, reader, writer):
        self.server, self.greeting, self.successor, self.rest, self.waits = server, None, None, b"", True
        super().__init__(Stranger(server), reader, writer)
        self.after("hello", server.hello_timeout)

    async def run(self):
        """As of Link. The connection counts as half-open until its hello is accepted (HL-0113)."""
        try:
            return await super().run()
        finally:
            self.accepted()

    def accepted(self):
        """No longer half-open."""
        self.server.half_open -= 1 if self.waits else 0
        self.waits = False

    def feed(self, data):
        """As of Link; what follows a classic id line is kept for its link (HL-0027)."""
        before = 0 if self.successor else data.find(b"\n") + 1
        super().feed(data)
        if self.successor:
            self.rest += data[before:]

    def close(self, bye="done"):
        """As of Link; who has not said hello is told nothing."""
        if self.state == "hello":
            self.end("closing")
        else:
            super().close(bye)

    def end(self, reason, bye=None, fault=False):
        """As of Link; what is closed is not half-open any more."""
        self.accepted()
        super().end(reason, bye, fault)

    def restart(self):
        """As of Link; on a checked stream the next hello is waited for as the first was."""
        super().restart()
        self.greeting = None

    def first_line(self, line):
        """Tells the profiles apart (section 4)."""
        text = to_text(line)
        if text is None or "\0" in text and text[:5] == "HOLD/":
            self.refuse("malformed") if line[:7] == b"HOLD/1 " else self.end("utf8")
        elif text[:7] == "HOLD/1 ":
            self._hello(text[7:])
        elif text[:5] == "HOLD/":
            self.refuse("version")
        elif self.checked:
            return  # HL-0099
        elif text[:5] == "SEAL/":
            self.refuse("sealed")
        else:
            self._classic(text)

    def on_long(self):
        """HL-0112, HL-0018."""
        if self.state != "hello":
            self.fault("long")
        elif self.partial[:7] == b"HOLD/1 ":
            self.refuse("malformed")
        else:
            self.end("long")

    def hello_expired(self):
        """HL-0111."""
        self.end("hello-timeout")

    def greeting_mid_link(self, text):
        """On a checked stream a new link of it (HL-0100)."""
        if not self.checked or text[:7] != "HOLD/1 ":
            super().greeting_mid_link(text)
        else:
            self._hello(text[7:])

    def refuse(self, code, retry=None):
        """Answers with a refusal and closes; nothing is kept (HL-0116)."""
        line = "HOLD/1 no code=" + code + ("" if retry is None else " retry=%d" % retry)
        self.end("refused", "")
        self.bye, self.lines = None, [line]

    def _hello(self, fields):
        server = self.server
        hello = read_greeting(fields, True)
        if hello is None:
            self.refuse("malformed")
            return
        timeout = max(server.timeout_min, min(server.timeout_max, hello["timeout"]))  # HL-0023
        code, retry = server.turns_away(hello["client"], "native")
        if code:
            self.refuse(code, retry)
            return
        peer = server.client(hello["client"])
        away = peer.guarded(hello["boot"])
        if away:
            self.refuse("duplicate-client", away)
            server.report(peer, "DuplicateClient", {"client": peer.id})
            return
        self.accepted()
        if self.state != "hello":
            self.down("takeover")
            self.restart()
        if peer.link:
            peer.link.end("takeover", "takeover")  # HL-0121
        peer.become("native", None)
        self.session, self.greeting, self.timeout, peer.visitor = peer, hello, timeout, hello["boot"]
        peer.sender_rows(hello)
        line = "HOLD/1 ok " + peer.greeting(timeout)
        if self.checked and hello["link"] is not None:
            line += " link=%d" % hello["link"]  # HL-0162
        self.established(hello, "confirming")
        self.lines = [line]
        self.output()

    def next_line(self):
        """As of Link; the welcome makes contact when it goes out."""
        line = super().next_line()
        if line and line[:10] == "HOLD/1 ok ":
            self.session.contact(self.greeting["boot"])
        return line

    def adopt(self):
        """The first line after the welcome (HL-0059)."""
        self.session.receiver_rows(self.greeting)
        self.come_up()

    def _classic(self, id):
        server = self.server
        if not id or len(id.encode()) > 128:
            self.end("long" if id else "frame")
            return
        profile = server.classic_of(id)
        code, _ = server.turns_away(id, profile)
        if code:
            self.end("refused")
            return
        peer = server.client(id)
        from holdline_classic import ClassicLink, Stream

        if peer.guarded(None):
            self.end("refused")
            server.report(peer, "DuplicateClient", {"client": id})
            return
        self.accepted()
        if peer.link:
            peer.link.end("takeover", "takeover")
        peer.become(profile, Stream())
        peer.visitor = None
        self.successor = lambda rest: ClassicLink(
            peer, self.reader, self.writer, profile, peer.stream, server.in_order, server.classic_timeout(profile), False, rest)
        self.hands_over = True
        self.end("classic")


class Stranger:
    """What a connection has instead of a session until its hello is accepted."""

    def __init__(self, server):
        self.timeout, self.checked, self.max = 2000, server.settings.get("check") == "crc32", HELLO_MAX
        self.link, self.faults = None, {}

    def event(self, name, info):
        """Nobody is told of a stranger."""


class Server:
    """Listens on `host`:`port` (port 0 takes a free one; see `address`), and keeps a session for each client id.

    settings: those of Session, alike for each client; `keeps` needs `directory`, where each session has a file. The others:
    timeout_min, timeout_max (ms, the range of T), hello_timeout (ms, 1000 … 60 000), half_open, sessions (caps), expected (the
    only client ids to serve), serves (profiles), classic (the profile of classic clients) and classic_of (by client id),
    classic_timeout (ms, their T), in_order, busy_retry (ms). on_client(peer) is called for each new session.
    """

    def __init__(self, host="127.0.0.1", port=8123, directory=None, timeout_min=200, timeout_max=3600000, hello_timeout=5000,
                 half_open=1024, sessions=10000, expected=None, serves=PROFILES, classic="classic-2020", classic_of=None,
                 classic_timeout=None, in_order=True, busy_retry=10000, on_client=None, **settings):
        in_range("timeout_min", timeout_min, 200, 3600000)
        in_range("timeout_max", timeout_max, timeout_min, 3600000)
        in_range("hello_timeout", hello_timeout, 1000, 60000)
        in_range("half_open", half_open, 1, 1 << 30)
        in_range("sessions", sessions, 1, 1 << 30)
        if classic_timeout is not None:
            in_range("classic_timeout", classic_timeout, 200, 3600000)
        for profile in tuple(serves) + (classic,) + tuple((classic_of or {}).values()):
            if profile not in PROFILES:
                raise Refused("setting", "no profile %r" % (profile,))
        if settings.get("keeps", "none") in KEEPS[1:] and directory is None:
            raise Refused("setting", "keeps needs a directory (HL-0021)")
        self.host, self.port, self.directory, self.settings = host, port, directory, settings
        self.timeout_min, self.timeout_max, self.hello_timeout = timeout_min, timeout_max, hello_timeout
        self.half_open_cap, self.sessions_cap, self.expected, self.serves = half_open, sessions, expected, serves
        self.classic, self.by_id, self._classic_timeout, self.in_order = classic, classic_of or {}, classic_timeout, in_order
        self.busy_retry, self.on_client = busy_retry, on_client
        self.clients, self.half_open, self.closing_retry, self.closing = {}, 0, 0, False
        self.links, self.events, self.listener, self.address = [], [], None, None
        self.boot = Session(**dict(settings, keeps="none", store=None)).boot  # refuses bad settings now (HL-0008)

    async def start(self):
        """Listens; returns the server when it does. Sessions that were kept are there again."""
        if self.directory is not None:
            for name in os.listdir(self.directory):
                if name[-5:] == ".json":
                    self.client(bytes.fromhex(name[:-5]).decode())
        self.listener = await asyncio.start_server(self._serve, self.host, self.port)
        sockets = getattr(self.listener, "sockets", None)
        self.address = sockets[0].getsockname()[:2] if sockets else (self.host, self.port)
        return self

    def client(self, id):
        """The session with this client; a new one if it was never there."""
        if id not in self.clients:
            settings = dict(self.settings, boot=self.boot)
            if settings.get("keeps", "none") != "none":
                settings["store"] = FileStore("%s/%s.json" % (self.directory, id.encode().hex()))
            self.clients[id] = Peer(self, id, **settings)
            if self.on_client:
                self.on_client(self.clients[id])
        return self.clients[id]

    async def shutdown(self, retry=2000, bound=5000):
        """Ends in good order: clients are asked to come back after `retry` ms and up to half more, each at another moment
        (HL-0128). Returns within `bound` ms (0 … 60 000)."""
        in_range("bound", bound, 0, 60000)
        self.closing, self.closing_retry = True, retry
        self.listener.close()
        until = now() + bound
        for link in list(self.links):
            link.close("closing retry=%d" % self._spread())
        while self.links and now() < until:
            await asyncio.sleep(0.01)
        for link in list(self.links):
            link.task.cancel()

    def turns_away(self, id, profile):
        """The code and the retry for a client that is not let in, or (None, None)."""
        if self.closing:
            return "closing", self._spread()
        if profile not in self.serves:
            return "profile", None
        if self.expected is not None and id not in self.expected:
            return "unknown-client", None
        if id not in self.clients and len(self.clients) >= self.sessions_cap:
            return "busy", self.busy_retry + random_up_to(self.busy_retry // 2)
        return None, None

    def classic_of(self, id):
        """The classic profile that this client speaks."""
        return self.by_id.get(id, self.classic)

    def classic_timeout(self, profile):
        """T of a classic profile, in ms."""
        return self._classic_timeout or (1500 if profile == "classic-2019" else 2000)

    def report(self, peer, name, info):
        """An event of the server's own."""
        self.events.append((name, info))
        del self.events[:-200]
        peer.event(name, info)

    def _spread(self):
        return self.closing_retry + random_up_to(self.closing_retry // 2)

    async def _serve(self, reader, writer):
        if self.half_open >= self.half_open_cap:  # HL-0113
            writer.close()
            return
        self.half_open += 1
        link = ServerLink(self, reader, writer)
        while link:
            link.task = asyncio.current_task()
            self.links.append(link)
            try:
                await link.run()
            except asyncio.CancelledError:
                return  # shutdown: the drain bound has passed
            finally:
                self.links.remove(link)
            link = link.successor(link.rest) if getattr(link, "successor", None) else None
