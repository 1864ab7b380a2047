"""What the tests share: a client and a server of this directory, and a wire between them that can be cut."""

import asyncio
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

PATIENCE = 60  # seconds; far more than anything here takes, on any machine


async def soon(awaitable):
    """The result of what must happen soon."""
    return await asyncio.wait_for(awaitable, PATIENCE)


async def until(what, condition):
    """Returns when `condition()` holds."""
    for _ in range(PATIENCE * 100):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never: " + what)


class Wire:
    """A proxy before a port. `cut()` ends all connections, `swallow` lets nothing through, `spoil(data, up)` may change it."""

    def __init__(self, port):
        self.port, self.writers, self.swallow, self.spoil, self.refuse = port, [], False, None, False
        self.connections = 0

    async def start(self):
        self.listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = self.listener.sockets[0].getsockname()[:2]
        return self

    def cut(self):
        for writer in self.writers:
            writer.transport.abort()
        self.writers = []

    async def close(self):
        self.listener.close()
        self.cut()

    async def _serve(self, reader, writer):
        self.connections += 1
        if self.refuse:
            writer.close()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.close()
            return
        self.writers += [writer, far_writer]
        await asyncio.gather(self._pump(reader, far_writer, True), self._pump(far_reader, writer, False))

    async def _pump(self, reader, writer, up):
        try:
            while True:
                data = await reader.read(1000)
                if not data:
                    while self.swallow:  # an end of the stream does not get through either
                        await asyncio.sleep(0.01)
                    break
                if not self.swallow:
                    writer.write(self.spoil(data, up) if self.spoil else data)
                    await writer.drain()
        except OSError:
            pass
        writer.close()


class RawPeer:
    """A connection by hand: lines without their LF. All are open until `close_all`."""

    opened = []

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.opened.append(self)

    @classmethod
    async def close_all(cls):
        for peer in cls.opened:
            peer.writer.transport.abort()
        cls.opened.clear()
        await asyncio.sleep(0)

    @classmethod
    async def connect(cls, port):
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def say(self, *lines):
        self.writer.write(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))

    async def line(self):
        """The next line that is not blank; None at the end of the stream."""
        while True:
            data = await soon(self.reader.readline())
            if not data.endswith(b"\n"):
                return None
            if data != b"\n":
                return data[:-1].decode()

    async def hello(self, client="door-1", boot=1, epoch=7, base=0, peer=0, seen=0, timeout=60000, window=4, more=""):
        """Says hello; returns the fields of the welcome, or the refusal as text."""
        self.say("HOLD/1 client=%s boot=%d epoch=%d base=%d peer=%d seen=%d keeps=none timeout=%d window=%d max=512%s" % (
            client, boot, epoch, base, peer, seen, timeout, window, more))
        line = await self.line()
        if not line or not line.startswith("HOLD/1 ok "):
            return line
        return dict(field.split("=") for field in line[10:].split(" "))

    def close(self):
        self.writer.close()
