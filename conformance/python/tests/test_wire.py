"""The server and the client against a peer by hand: the transcripts of section 15 of SPEC.md, and the tables of it."""

import asyncio
import unittest

from .pair import RawPeer, soon, until
from holdline_classic import Stream
from holdline_client import Client, crc, read_greeting, to_number, to_text
from holdline_server import Server


class Values(unittest.TestCase):
    def test_sums_are_those_of_section_6_4(self):
        total = 0
        for text, expected in (("open", 3821539809), ("close", 906551230), ("open", 3037187734)):
            total = crc(text.encode() + b"\n", total)
            self.assertEqual(total, expected)

    def test_checks_are_those_of_section_8_2(self):
        for line, expected in (("A17", "f0f99c58"), ("R3", "76844c3f"), ("P9", "a467c7a3"), ("M1 temp=21.5", "dc29f52a")):
            self.assertEqual("%08x" % crc(line.encode()), expected)

    def test_numbers_follow_the_grammar(self):
        for text, n in (("0", 0), ("18446744073709551615", (1 << 64) - 1), ("18446744073709551616", None), ("01", None),
                        ("", None), ("+1", None), (" 1", None), ("1_0", None), ("\u0661", None), ("9" * 21, None)):
            self.assertEqual(to_number(text), n, text)

    def test_only_utf8_is_text(self):
        for data in (b"\xff", b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"):
            self.assertIsNone(to_text(data), data)
        self.assertEqual(to_text("\u20ac\U0001f6aa".encode()), "\u20ac\U0001f6aa")

    def test_a_greeting_is_judged_field_by_field(self):
        good = "client=a boot=1 epoch=7 base=0 peer=0 seen=0 keeps=none timeout=2000 window=4 max=512"
        self.assertEqual(read_greeting(good, True)["window"], 4)
        self.assertIsNotNone(read_greeting("max=512 " + good[:-8] + " future=1 sum=5 X= X= code=1", True))
        for bad in (good + " ", good.replace(" ", "  ", 1), good + " boot=1", good.replace("epoch=7", "epoch=0"),
                    good.replace("timeout=2000", "timeout=199"), good.replace("window=4", "window=65536"), good + " bsum=4294967296",
                    good.replace("max=512", "max=127"), good.replace(" seen=0", ""), good.replace("none", "all"),
                    good + " foo", good + " =1", good.replace("base=0", "base=9223372036854775808"), good.replace("client=a", "client=a=b"), good + " held=65536"):
            self.assertIsNone(read_greeting(bad, True), bad)

    def test_classic_ids_are_judged_by_the_table_of_4_2(self):
        def stream(newest, *seen):
            s = Stream()
            s.newest, s.seen = newest, [i in seen for i in range(256)]
            return s

        for id, s, on_link, new in ((9, stream(None), set(), True), (5, stream(3, 5), set(), True), (1, stream(255, 1), set(), True),
                                    (4, stream(5), set(), True), (4, stream(5, 4), set(), False), (5, stream(5, 5), set(), False),
                                    (200, stream(10, 200), set(), False), (0, stream(9, 0), set(), True), (0, stream(9, 0), {0}, False)):
            self.assertEqual(s.is_new(id, on_link), new, id)
        s = stream(3, 3, 4, 5)
        s.take(5, set())
        self.assertEqual((s.newest, s.seen[4], s.seen[5]), (5, False, True))


class Served(unittest.IsolatedAsyncioTestCase):
    """A server whose application accepts everything and answers `open` with `light on`, as in section 15."""

    async def serve(self, **settings):
        self.server = await Server("127.0.0.1", 0, on_client=self.known, **settings).start()
        self.port = self.server.address[1]

    def known(self, peer):
        self.tasks.append(asyncio.create_task(self.application(peer)))

    async def application(self, peer):
        while True:
            if await peer.readline() == "open":
                peer.send("light on")

    async def asyncSetUp(self):
        self.tasks = []

    async def asyncTearDown(self):
        await RawPeer.close_all()
        await self.server.shutdown(bound=0)
        for task in self.tasks:
            task.cancel()
        await until("links end", lambda: not self.server.links)

    async def expect(self, peer, *lines):
        self.assertEqual([await peer.line() for _ in lines], list(lines))

    async def test_a_first_link_and_a_second(self):
        await self.serve()
        peer = await RawPeer.connect(self.port)
        welcome = await peer.hello()
        self.assertEqual((welcome["peer"], welcome["seen"], welcome["base"], welcome["timeout"]), ("0", "0", "0", "60000"))
        peer.say("", "M1 open")
        self.assertEqual({await peer.line(), await peer.line()}, {"A1", "M1 light on"})
        peer.say("A1", "M1 open")
        await self.expect(peer, "A1")
        peer.say("P1")
        await self.expect(peer, "A1")
        peer.say("D temp=21.5", "M3 three")
        await self.expect(peer, "R2")
        peer.say("M2 two")
        await self.expect(peer, "A2")
        peer.say("M3 three")
        await self.expect(peer, "A3")
        second = await RawPeer.connect(self.port)
        again = await second.hello(base=2, peer=int(welcome["epoch"]), seen=1)
        self.assertEqual((again["peer"], again["seen"], again["base"], again["epoch"]), ("7", "3", "1", welcome["epoch"]))
        await self.expect(peer, "Btakeover", None)
        second.say("", "M4 four")
        await self.expect(second, "A4")

    async def test_nothing_of_a_hello_is_adopted_before_the_confirmation(self):
        await self.serve()
        for last_words in ("Breset", None):
            peer = await RawPeer.connect(self.port)
            self.assertEqual((await peer.hello())["peer"], "0")
            if last_words:
                peer.say(last_words)
                await self.expect(peer, None)
            peer.close()
        peer = await RawPeer.connect(self.port)
        self.assertEqual((await peer.hello())["peer"], "0")
        peer.say("")
        await until("adopted", lambda: self.server.client("door-1").peer_epoch == 7)

    async def test_each_fault_ends_the_link_with_its_code(self):
        await self.serve()
        for line, code in (("A9", "ack"), ("X", "frame"), ("D", "frame"), ("Hi", "frame"), ("M01 x", "number"), ("M1", "number"),
                           ("A", "number"), ("A1 ", "number"), ("M9223372036854775808 x", "number"), ("M17 x", "window"),
                           ("R5", "rewind"), ("R0", "rewind"), ("HOLD/1 client=a", "hello"), (b"\xff", "utf8"), ("D a\0", "nul"),
                           ("D " + "x" * 4096, "long")):
            with self.subTest(line=line):
                peer = await RawPeer.connect(self.port)
                await peer.hello()
                peer.say("", line, "M1 too late")
                await self.expect(peer, "B" + code, None)
        self.assertEqual(self.server.client("door-1").received, 0)

    async def test_hellos_are_refused_with_a_code(self):
        await self.serve(expected=["door-1"])
        for line, answer in (("HOLD/2 client=door-1", "version"), ("HOLD/1 client=door-1 boot=1", "malformed"),
                             ("HOLD/1 " + "x" * 600, "malformed"), ("SEAL/1 door-1 AAAA", "sealed")):
            peer = await RawPeer.connect(self.port)
            peer.say(line)
            await self.expect(peer, "HOLD/1 no code=" + answer, None)
        self.assertEqual(await (await RawPeer.connect(self.port)).hello("door-2"), "HOLD/1 no code=unknown-client")
        self.assertEqual(list(self.server.clients), [])

    async def test_the_fourth_takeover_by_another_boot_is_refused(self):
        await self.serve()
        for boot in (1, 2, 3, 4):
            self.assertIsInstance(await (await RawPeer.connect(self.port)).hello(boot=boot), dict)
        self.assertEqual(await (await RawPeer.connect(self.port)).hello(boot=5), "HOLD/1 no code=duplicate-client retry=120000")
        self.assertIsInstance(await (await RawPeer.connect(self.port)).hello(boot=4), dict)
        self.assertEqual([name for name, _ in self.server.events], ["DuplicateClient"])

    async def test_a_line_that_begins_with_b_is_a_bye_whatever_follows(self):
        await self.serve()
        for line, reason in ((b"Bdone", "done"), (b"B", "unknown"), (b"BX", "unknown"), (b"B\xff", "unknown"), (b"Btired now", "tired")):
            peer = await RawPeer.connect(self.port)
            await peer.hello()
            peer.say("", line)
            await self.expect(peer, None)
            self.assertEqual(self.server.client("door-1").events[-1], ("down", {"reason": reason}))

    async def test_bytes_one_by_one_and_all_at_once_come_to_the_same(self):
        await self.serve()
        peer = await RawPeer.connect(self.port)
        await peer.hello()
        for byte in b"\nM1 \xe2\x82\xac\n":
            peer.writer.write(bytes([byte]))
            await peer.writer.drain()
            await asyncio.sleep(0.005)
        await self.expect(peer, "A1")
        peer.say("M2 two", "M3 three", "M4 four")
        last = ""
        while last != "A4":
            last = await peer.line()

    async def test_a_mute_peer_is_probed_and_left(self):
        await self.serve()
        peer = await RawPeer.connect(self.port)
        await peer.hello(timeout=400)
        peer.say("", "M1 open")
        self.assertEqual({await peer.line(), await peer.line()}, {"A1", "M1 light on"})

        async def keepalives():
            while True:
                peer.say("")
                await asyncio.sleep(0.05)

        alive = asyncio.create_task(keepalives())
        last = await peer.line()
        self.assertEqual(last, "P1")
        while last == "P1":
            last = await peer.line()
        self.assertEqual(last, "Bmute")
        alive.cancel()

    async def test_a_shutdown_says_when_to_come_back(self):
        await self.serve()
        peer = await RawPeer.connect(self.port)
        await peer.hello()
        await self.server.shutdown(retry=1000)
        line = await peer.line()
        self.assertTrue(line.startswith("Bclosing retry="), line)
        self.assertTrue(1000 <= int(line.split("=")[1]) <= 1500)

    async def test_classic_2020_as_in_15_7(self):
        await self.serve(classic_timeout=60000)
        peer = await RawPeer.connect(self.port)
        peer.say("sensor-7")
        self.assertEqual(await soon(peer.reader.readline()), b"\n")
        peer.say("00open")
        self.assertEqual({await peer.line(), await peer.line()}, {"00", "00light on"})
        peer.say("01temp=21.5")
        await self.expect(peer, "01")
        peer.say("01temp=21.5", "00")
        await self.expect(peer, "01")
        await until("acked", lambda: not self.server.client("sensor-7").outbox)
        peer.say("zz")
        await self.expect(peer, None)

    async def test_bytes_behind_a_classic_id_line_belong_to_the_stream(self):
        await self.serve(classic_timeout=60000)
        peer = await RawPeer.connect(self.port)
        peer.writer.write(b"sensor-7\n00one\n01t")
        await self.expect(peer, "00")
        peer.say("wo")
        await self.expect(peer, "01")


class Answered(unittest.IsolatedAsyncioTestCase):
    """A client against a server by hand."""

    async def asyncSetUp(self):
        self.peers = asyncio.Queue()
        self.listener = await asyncio.start_server(lambda r, w: self.peers.put(RawPeer(r, w)), "127.0.0.1", 0)
        self.client = Client(*self.listener.sockets[0].getsockname()[:2], "door-1", timeout=1000, backoff=(20, 50)).start()

    async def asyncTearDown(self):
        self.client.stopped = True
        await RawPeer.close_all()
        self.listener.close()
        await soon(self.client.close())

    async def hello(self, answer=None):
        peer = await soon(self.peers.get())
        line = await peer.line()
        self.assertTrue(line.startswith("HOLD/1 client=door-1 boot="), line)
        self.said = dict(field.split("=") for field in line[7:].split(" "))
        if answer:
            peer.say(answer)
        return peer

    def welcome(self, boot=1, epoch=5, base=0, peer=0, seen=0, more=""):
        return "HOLD/1 ok boot=%d epoch=%d base=%d peer=%d seen=%d keeps=none timeout=1000 window=16 max=4096%s" % (
            boot, epoch, base, peer, seen, more)

    async def test_the_confirmation_comes_before_any_frame(self):
        self.client.send("one")
        peer = await self.hello()
        peer.say(self.welcome())
        self.assertEqual(await soon(peer.reader.readline()), b"\n")
        self.assertEqual(await peer.line(), "M1 one")

    async def test_refusals_and_strangers_are_reported(self):
        peer = await self.hello("HOLD/1 no code=not-today retry=30 why=rain")
        self.assertIsNone(await peer.line())
        peer = await self.hello("HTTP/1.1 400 Bad Request")
        self.assertIsNone(await peer.line())
        peer = await self.hello("HOLD/1 ok boot=1")
        self.assertEqual(await peer.line(), "Bhello")
        self.assertEqual(self.client.events, [("Refused", {"code": "not-today", "retry": 30}), ("NotHoldline", {}),
                                              ("fault", {"fault": "hello"})])

    async def test_a_peer_that_knows_more_than_was_sent_makes_a_new_epoch(self):
        self.client.send("one")
        peer = await self.hello()
        epoch = self.said["epoch"]
        peer.say(self.welcome(peer=int(epoch), seen=3))
        self.assertEqual(await peer.line(), "Breset")
        peer = await self.hello()
        self.assertNotEqual(self.said["epoch"], epoch)
        peer.say(self.welcome())
        self.assertEqual(await peer.line(), "M1 one")
        self.assertEqual([name for name, _ in self.client.events], ["OwnReset", "up"])

    async def test_held_messages_of_the_peer_are_counted_in_the_next_hello(self):
        peer = await self.hello(self.welcome(more=" bsum=0"))
        peer.say("M1 open", "M2 close")
        await until("both wait", lambda: self.client.received == 2)
        self.client.take()
        self.assertEqual(await peer.line(), "A1")
        peer.writer.transport.abort()
        await self.hello()
        self.assertEqual((self.said["peer"], self.said["seen"], self.said["held"], self.said["sum"]), ("5", "1", "1", "906551230"))


if __name__ == "__main__":
    unittest.main()
