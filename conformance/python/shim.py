"""Lets the conformance suite drive holdline_client.py and holdline_server.py: one request a line on standard input, one
answer a line on standard output, as docs/conformance.md says.

    holdline-conformance shim -- python3 conformance/python/shim.py
"""

import asyncio
import json
import os
import sys

from holdline_client import Client, FileStore, Full, Refused
from holdline_server import Server

PROFILES = ["native", "classic-2020", "classic-2019"]
EVENTS = {"Lost": "lost", "PeerReset": "peer-reset", "OwnReset": "own-reset", "PeerForgot": "peer-forgot",
          "Blocked": "blocked", "Refused": "refused", "NotHoldline": "not-holdline", "DuplicateClient": "duplicate-client"}
# Settings of `start`, and what they are called here.
BOTH = {"window": "window", "max": "max", "keeps": "keeps", "check": "check", "on_forgotten": "policy",
        "in_order": "in_order", "outbox": "outbox"}
SERVER = {"timeout_min_ms": "timeout_min", "timeout_max_ms": "timeout_max", "hello_timeout_ms": "hello_timeout",
          "half_open": "half_open", "sessions": "sessions", "expected": "expected", "serves": "serves"}
NOT_SETTINGS = ("id", "do", "role", "profile", "connect", "listen", "client", "timeout_ms", "store")


class Unimplemented(Exception):
    """What the shim has no verb or setting for."""


class Down(Exception):
    """A best-effort text while no link is up."""


class Shim:
    """The subject, and what the suite asks of it."""

    def __init__(self):
        self.client = self.server = None
        self.tasks = []

    async def hello(self, ask):
        """Who is there."""
        return {"shim": 1, "name": "holdline-python", "version": "1", "roles": ["client", "server"], "profiles": PROFILES,
                "keeps": ["none", "sent", "seen", "both"], "check": ["none", "crc32"]}

    async def start(self, ask):
        """Starts a client or a server."""
        role, profile = ask.get("role"), ask.get("profile", "native")
        if role not in ("client", "server") or profile not in PROFILES:
            raise Unimplemented("role %r, profile %r" % (role, profile))
        known = dict(BOTH, **(SERVER if role == "server" else {"fallback": "fallback"}))
        settings = {}
        for key, value in ask.items():
            if key in known:
                settings[known[key]] = value
            elif key not in NOT_SETTINGS:
                raise Unimplemented("no setting %r" % key)
        if settings.get("check") == "none":
            settings["check"] = "off"
        if role == "client":
            host, port = address(ask["connect"])
            if "store" in ask:
                settings["store"] = FileStore(os.path.join(ask["store"], "session.json"))
            if "timeout_ms" in ask:
                settings["timeout"] = ask["timeout_ms"]
            self.client = Client(host, port, ask["client"], profile=profile, **settings).start()
            return {}
        host, port = address(ask["listen"])
        if "timeout_ms" in ask:
            settings["timeout" if profile == "native" else "classic_timeout"] = ask["timeout_ms"]
        if profile != "native":
            settings["classic"] = profile
        self.server = await Server(host, port, directory=ask.get("store"), **settings).start()
        return {"address": "%s:%d" % self.server.address}

    async def send(self, ask):
        """Hands over a message."""
        session, delivery = self.session(ask), ask.get("delivery", "exactly-once")
        if delivery == "exactly-once":
            session.send(ask["text"])
        elif delivery == "latest":
            session.send(ask["text"], ask.get("slot", 0))
        elif delivery != "best-effort":
            raise Unimplemented("no delivery %r" % delivery)
        elif not session.datagram(ask["text"]):
            raise Full("too many datagrams wait") if session.status() else Down("no link is up")
        return {}

    async def recv(self, ask):
        """Takes the next message, and so accepts it."""
        session = self.session(ask)
        try:
            message = await asyncio.wait_for(session.receive(), max(ask.get("wait_ms", 0), 1) / 1000)
        except asyncio.TimeoutError:
            return {"text": None}
        return {"text": message.text, "delivery": "best-effort" if message.n is None else "exactly-once"}

    async def state(self, ask):
        """How things are, and what happened since the last call."""
        if self.server and ask.get("client") not in self.server.clients:
            return {"up": False, "links": 0, "outbox": 0, "events": []}
        session = self.session(ask)
        events, session.events = [dict(info, event=EVENTS.get(name, name)) for name, info in session.events], []
        return {"up": session.status(), "links": session.links, "outbox": len(session.outbox), "events": events}

    async def close(self, ask):
        """Ends the link in good order."""
        self.tasks.append(asyncio.create_task(self.session(ask).close()))
        return {}

    async def shutdown(self, ask):
        """Ends the server in good order."""
        if not self.server:
            raise Unimplemented("only a server shuts down")
        self.tasks.append(asyncio.create_task(self.server.shutdown(ask.get("retry_ms", 2000), ask.get("bound_ms", 5000))))
        return {}

    async def stop(self, ask):
        """Ends the process, when it is answered."""
        return {}

    def session(self, ask):
        """The session that a request is about."""
        if self.client:
            return self.client
        if not self.server or ask.get("client") not in self.server.clients:
            raise ValueError("no such client, or not started")
        return self.server.clients[ask["client"]]

    async def answer(self, ask):
        """The answer to one request."""
        verbs = {"hello": self.hello, "start": self.start, "send": self.send, "recv": self.recv, "state": self.state,
                 "close": self.close, "shutdown": self.shutdown, "stop": self.stop}
        error = "failed"
        try:
            if ask.get("do") not in verbs:
                raise Unimplemented("no verb %r" % ask.get("do"))
            return dict(await verbs[ask["do"]](ask), ok=True)
        except Unimplemented as e:
            error, why = "unimplemented", str(e)
        except Full as e:
            error, why = "full", str(e)
        except Down as e:
            error, why = "down", str(e)
        except Refused as e:
            error, why = "failed" if e.why == "setting" else e.why, str(e)
        except Exception as e:  # whatever it was, the suite is told and the shim goes on
            why = "%s: %s" % (type(e).__name__, e)
        return {"ok": False, "error": error, "why": why}


def address(text):
    """Host and port of `host:port`."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


async def main():
    """Answers until `stop` or the end of standard input."""
    lines = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_event_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    shim = Shim()
    while True:
        line = await lines.readline()
        if not line:
            break
        try:
            ask = json.loads(line)
        except ValueError as e:
            ask = {"do": None, "id": None}
            print("not JSON: %s" % e, file=sys.stderr)
        answer = dict(await shim.answer(ask), id=ask.get("id"))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        if ask.get("do") == "stop":
            break
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
