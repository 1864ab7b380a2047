"""The client and the server of this directory against each other, over loopback, with the wire cut between them."""

import asyncio
import os
import random
import shutil
import tempfile
import unittest

from .pair import Wire, soon, until
from holdline_client import Client, FileStore, Full, Refused
from holdline_server import Server


class Pair(unittest.IsolatedAsyncioTestCase):
    """A server, a wire, and clients; all ended after each test."""

    async def asyncSetUp(self):
        self.servers, self.clients = [], []
        self.directory = tempfile.mkdtemp()
        self.wire = None

    async def asyncTearDown(self):
        for client in self.clients:
            await self.kill(client)
        if self.wire:
            await self.wire.close()
        for server in self.servers:
            await self.kill_server(server)
        shutil.rmtree(self.directory)

    async def serve(self, port=0, **settings):
        self.server = await Server("127.0.0.1", port, **settings).start()
        self.servers.append(self.server)
        if not self.wire:
            self.wire = await Wire(self.server.address[1]).start()
        self.wire.port = self.server.address[1]
        return self.server

    def connect(self, id="door-1", timeout=1000, **settings):
        client = Client(*self.wire.address, id, timeout=timeout, backoff=(50, 200), **settings).start()
        self.clients.append(client)
        return client

    async def kill(self, client):
        """As a power cut: nothing is said."""
        client.task.cancel()
        try:
            await client.task
        except asyncio.CancelledError:
            pass

    async def kill_server(self, server):
        server.listener.close()
        for link in list(server.links):
            link.task.cancel()
        await until("links end", lambda: not server.links)

    def store(self, name="client"):
        return FileStore(os.path.join(self.directory, name))

    def names(self, session):
        return [name for name, _ in session.events]


class Delivery(Pair):
    async def test_messages_go_both_ways_and_write_waits_for_acceptance(self):
        server = await self.serve()
        client = self.connect()
        writing = asyncio.create_task(client.write("opened"))
        await until("it arrives", lambda: "door-1" in server.clients and server.client("door-1").inbox)
        await asyncio.sleep(0.05)
        self.assertFalse(writing.done())
        self.assertEqual(await soon(server.client("door-1").readline()), "opened")
        self.assertTrue(await soon(writing))
        self.assertTrue((await soon(asyncio.gather(server.client("door-1").write("light on"), client.readline())))[0])

    async def test_each_message_arrives_once_and_in_order_over_cuts(self):
        server = await self.serve()
        client, door = self.connect(outbox=5), server.client("door-1")
        dice = random.Random(4)

        async def send(session, name):
            for i in range(150):
                self.assertTrue(await session.write("%s %d" % (name, i)))

        async def collect(session):
            return [await session.readline() for _ in range(150)]

        async def cut():
            while True:
                await asyncio.sleep(dice.random() / 8)
                self.wire.cut()

        cutting = asyncio.create_task(cut())
        up, down, _, _ = await asyncio.wait_for(asyncio.gather(
            collect(door), collect(client), send(client, "up"), send(door, "down")), 120)
        cutting.cancel()
        self.assertEqual(up, ["up %d" % i for i in range(150)])
        self.assertEqual(down, ["down %d" % i for i in range(150)])
        self.assertGreater(self.wire.connections, 3)

    async def test_the_window_bounds_what_waits_unaccepted(self):
        server = await self.serve(window=3)
        client, door = self.connect(), server.client("door-1")
        for i in range(10):
            client.send(str(i))
        await until("the window is full", lambda: door.received == 3)
        await asyncio.sleep(0.1)
        self.assertEqual(client.high, 3)
        self.assertEqual([await soon(door.readline()) for _ in range(10)], [str(i) for i in range(10)])
        await until("all is acked", lambda: not client.outbox)

    async def test_a_full_outbox_refuses_and_drops_nothing(self):
        await self.serve()
        client = self.connect(outbox=2)
        self.wire.refuse = True
        client.send("1")
        client.send("2")
        with self.assertRaises(Full):
            client.send("3")
        self.assertEqual([m.text for m in client.outbox], ["1", "2"])

    async def test_latest_replaces_only_what_was_never_on_a_wire(self):
        server = await self.serve(window=1)
        client, door = self.connect(), server.client("door-1")
        client.send("21.0", slot=0)
        await until("it is on the wire", lambda: client.high == 1)
        for text in ("21.5", "22.0", "22.5"):
            client.send(text, slot=0)
        self.assertEqual([await soon(door.readline()) for _ in range(2)], ["21.0", "22.5"])

    async def test_datagrams_arrive_while_up_and_are_dropped_while_down(self):
        server = await self.serve()
        client = self.connect()
        self.assertFalse(client.datagram("too early"))
        await until("up", client.status)
        self.assertTrue(client.datagram("now"))
        self.assertEqual(await soon(server.client("door-1").readline()), "now")

    async def test_texts_that_are_no_lines_are_refused(self):
        await self.serve()
        client = self.connect(max=128)
        for text, why in (("a\nb", "not-text"), ("a\0b", "not-text"), ("\ud800", "not-text"), ("x" * 107, "too-long")):
            with self.assertRaises(Refused) as refused:
                client.send(text)
            self.assertEqual(refused.exception.why, why)
        client.send("x" * 106)

    async def test_a_message_longer_than_the_peer_allows_blocks_until_a_link_allows_it(self):
        server = await self.serve(max=128)
        client = self.connect()
        client.send("x" * 200)
        await until("blocked", lambda: ("Blocked", {"seq": 1, "len": 200, "max": 106}) in client.events)
        with self.assertRaises(Refused):
            client.datagram("x" * 107)
        port = server.address[1]
        await self.kill_server(server)
        server = await self.serve(port, max=4096)
        self.assertEqual(await soon(server.client("door-1").readline()), "x" * 200)


class Outages(Pair):
    async def test_silence_ends_the_link_on_both_sides_and_the_session_goes_on(self):
        server = await self.serve()
        client, door = self.connect(timeout=400), server.client("door-1")
        await until("up", client.status)
        await until("up", door.status)
        self.wire.swallow = True
        await until("down", lambda: ("down", {"reason": "silence"}) in client.events)
        await until("down", lambda: ("down", {"reason": "silence"}) in door.events)
        client.send("later")
        self.wire.cut()
        self.wire.swallow = False
        self.assertEqual(await soon(door.readline()), "later")

    async def test_up_and_down_alternate(self):
        server = await self.serve()
        client, door = self.connect(), server.client("door-1")
        for i in range(10):
            await until("up", lambda: client.status() and door.status())
            self.wire.cut()
            await until("down", lambda: self.names(client).count("down") > i and self.names(door).count("down") > i)
        for session in (client, door):
            names = [name for name in self.names(session) if name in ("up", "down")]
            self.assertEqual(names[::2], ["up"] * len(names[::2]))
            self.assertEqual(names[1::2], ["down"] * len(names[1::2]))

    async def test_a_peer_that_hears_nothing_is_mute(self):
        server = await self.serve(timeout_min=200)
        client = self.connect(timeout=400)
        await until("up", client.status)
        self.wire.spoil = lambda data, up: b"\n" if up else data  # our lines become keepalives
        client.send("heard?")
        await until("mute", lambda: ("down", {"reason": "mute"}) in client.events)
        self.wire.spoil = None
        self.wire.cut()
        self.assertEqual(await soon(server.client("door-1").readline()), "heard?")

    async def test_a_checked_stream_survives_damage_and_loss(self):
        server = await self.serve(check="crc32")
        client, door = self.connect(timeout=400, check="crc32"), server.client("door-1")
        dice = random.Random(7)

        def spoil(data, up):
            if dice.random() < 0.1:
                at = dice.randrange(len(data))
                return data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1:]
            return b"" if dice.random() < 0.05 else data

        self.wire.spoil = spoil

        async def send(session):
            for i in range(40):
                await session.write("text %d" % i)

        async def collect(session):
            return [await session.readline() for _ in range(40)]

        got = await asyncio.wait_for(asyncio.gather(collect(door), collect(client), send(client), send(door)), 120)
        self.assertEqual(got[0], ["text %d" % i for i in range(40)])
        self.assertEqual(got[1], ["text %d" % i for i in range(40)])


class Restarts(Pair):
    async def test_a_client_that_keeps_both_goes_on_without_loss_or_repeat(self):
        server = await self.serve()
        door = server.client("door-1")
        client = self.connect(keeps="both", store=self.store())
        self.assertEqual((await soon(asyncio.gather(door.readline(), client.write("1"))))[0], "1")
        self.assertEqual((await soon(asyncio.gather(client.readline(), door.write("a"))))[0], "a")
        client.send("2")
        await until("it waits there", lambda: door.received == 2)
        door.send("b")
        await until("it waits here", lambda: client.received == 2)
        await self.kill(client)
        client = self.connect(keeps="both", store=self.store())
        client.send("3")
        self.assertEqual([await soon(door.readline()) for _ in range(2)], ["2", "3"])
        self.assertEqual(await soon(client.readline()), "b")
        await until("all is acked", lambda: not client.outbox and not door.outbox)
        self.assertEqual([n for n in self.names(client) + self.names(door) if n not in ("up", "down")], [])

    async def test_a_server_that_keeps_both_goes_on_without_loss_or_repeat(self):
        server = await self.serve(keeps="both", directory=self.directory)
        port, door, client = server.address[1], server.client("door-1"), self.connect()
        await soon(asyncio.gather(door.readline(), client.write("1")))
        door.send("a")
        await until("it waits here", lambda: client.received == 1)
        await self.kill_server(server)
        server = await self.serve(port, keeps="both", directory=self.directory)
        door = server.client("door-1")
        client.send("2")
        self.assertEqual(await soon(door.readline()), "2")
        self.assertEqual(await soon(client.readline()), "a")
        await until("all is acked", lambda: not client.outbox and not door.outbox)
        self.assertEqual([n for n in self.names(client) + self.names(door) if n not in ("up", "down")], [])

    async def test_a_server_without_memory_is_told_apart_and_gets_again_what_was_not_acked(self):
        server = await self.serve()
        port, client = server.address[1], self.connect()
        await soon(asyncio.gather(server.client("door-1").readline(), client.write("1")))
        client.send("2")
        await until("it waits there", lambda: server.client("door-1").received == 2)
        await self.kill_server(server)
        server = await self.serve(port)
        self.assertEqual(await soon(server.client("door-1").readline()), "2")
        self.assertIn(("PeerForgot", {"from": 2, "to": 2}), client.events)

    async def test_with_policy_skip_what_was_on_a_wire_is_dropped(self):
        server = await self.serve(window=1)
        port, client = server.address[1], self.connect(policy="skip")
        first = client.send("open the door")
        client.send("stays")
        await until("it waits there", lambda: server.client("door-1").received == 1)
        await self.kill_server(server)
        server = await self.serve(port)
        self.assertEqual(await soon(server.client("door-1").readline()), "stays")
        self.assertEqual(first.done, "dropped")
        self.assertIn(("PeerForgot", {"from": 1, "to": 1}), client.events)

    async def test_a_client_without_memory_is_a_new_stream(self):
        server = await self.serve()
        door, client = server.client("door-1"), self.connect()
        await soon(asyncio.gather(door.readline(), client.write("1")))
        await self.kill(client)
        client = self.connect()
        await soon(asyncio.gather(door.readline(), client.write("1 again")))
        self.assertIn("PeerReset", self.names(door))

    async def test_a_client_whose_memory_is_put_back_renumbers_and_loses_nothing_new(self):
        server = await self.serve()
        door = server.client("door-1")
        client = self.connect(keeps="both", store=self.store())
        await soon(asyncio.gather(door.readline(), client.write("1")))
        shutil.copy(self.store().path, self.store("copy").path)
        for text in ("2", "3"):
            await soon(asyncio.gather(door.readline(), client.write(text)))
        await self.kill(client)
        client = self.connect(keeps="both", store=self.store("copy"))
        other = [client.send("other 2"), client.send("other 3")]  # the same numbers, other texts: only the sum tells
        self.assertEqual([await soon(door.readline()) for _ in range(2)], ["other 2", "other 3"])
        await until("all is acked", lambda: all(m.done for m in other))
        self.assertIn("OwnReset", self.names(client))

    async def test_a_server_whose_memory_is_put_back_reports_what_it_lost(self):
        server = await self.serve(keeps="both", directory=self.directory)
        port, door, client = server.address[1], server.client("door-1"), self.connect()
        await soon(asyncio.gather(door.readline(), client.write("1")))
        name = [name for name in os.listdir(self.directory) if name.endswith(".json")][0]
        with open(os.path.join(self.directory, name)) as f:
            copy = f.read()
        await soon(asyncio.gather(door.readline(), client.write("2")))
        await self.kill_server(server)
        with open(os.path.join(self.directory, name), "w") as f:
            f.write(copy)
        server = await self.serve(port, keeps="both", directory=self.directory)
        door = server.client("door-1")
        await soon(asyncio.gather(door.readline(), client.write("3")))
        self.assertIn(("Lost", {"from": 2, "to": 2, "direction": "in"}), door.events)
        self.assertIn(("Lost", {"from": 2, "to": 2, "direction": "out"}), client.events)

    async def test_a_memo_is_kept_in_one_step_with_the_acceptance(self):
        server = await self.serve()
        door, client = server.client("door-1"), self.connect(keeps="both", store=self.store())
        door.send("count 1")
        await soon(client.readline(accept=False))
        await self.kill(client)
        client = self.connect(keeps="both", store=self.store())
        self.assertIsNone(client.memo)
        self.assertEqual(await soon(client.readline(accept=False)), "count 1")  # not accepted: it comes again
        client.accept(memo="counted to 1")
        await self.kill(client)
        client = self.connect(keeps="both", store=self.store())
        self.assertEqual(client.memo, "counted to 1")
        door.send("count 2")
        self.assertEqual(await soon(client.readline()), "count 2")


class Classic(Pair):
    async def go(self, profile, timeout, **settings):
        server = await self.serve(classic=profile, classic_timeout=timeout, **settings)
        return self.connect(profile=profile, timeout=timeout), server.client("door-1")

    async def test_2020_goes_on_over_cuts(self):
        client, door = await self.go("classic-2020", 400)
        for i in range(3):
            got = await soon(asyncio.gather(door.readline(), client.readline(), client.write("u%d" % i), door.write("d%d" % i)))
            self.assertEqual(got, ["u%d" % i, "d%d" % i, True, True])
            self.wire.cut()

    async def test_2019_goes_on_over_a_cut(self):
        client, door = await self.go("classic-2019", 600)
        for i in range(2):
            got = await soon(asyncio.gather(door.readline(), client.readline(), client.write("u%d" % i), door.write("d%d" % i)))
            self.assertEqual(got, ["u%d" % i, "d%d" % i, True, True])
            self.wire.cut()

    async def test_what_waits_for_a_classic_client_is_kept_over_a_restart_of_the_server(self):
        client, door = await self.go("classic-2020", 20000, keeps="both", directory=self.directory)
        await soon(asyncio.gather(door.readline(), client.write("1")))
        await soon(client.close())
        door.send("a")
        door.send("b")
        port = self.server.address[1]
        await self.kill_server(self.server)
        server = await self.serve(port, keeps="both", directory=self.directory, classic_timeout=20000)
        self.assertEqual([m.text for m in server.client("door-1").outbox], ["a", "b"])
        client = self.connect(profile="classic-2020", timeout=20000)
        self.assertEqual([await soon(client.readline()) for _ in range(2)], ["a", "b"])
        await until("all is acked", lambda: not server.client("door-1").outbox)

    async def test_a_native_client_falls_back_when_the_server_is_none_of_ours(self):
        server = await self.serve(serves=("classic-2020",), classic_timeout=400)
        port = server.address[1]

        async def original(reader, writer):
            """Takes any first line for an id, as the original does, and answers with a keepalive."""
            first = await reader.readline()
            if first.startswith(b"HOLD/1 "):
                writer.write(b"\n")
                await reader.read()
                writer.close()
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            far_writer.write(first)
            await asyncio.gather(self.wire._pump(reader, far_writer, True), self.wire._pump(far_reader, writer, False))

        listener = await asyncio.start_server(original, "127.0.0.1", 0)
        client = Client(*listener.sockets[0].getsockname()[:2], "door-1", timeout=400, backoff=(50, 200),
                        fallback="classic-2020").start()
        self.clients.append(client)
        self.assertEqual((await soon(asyncio.gather(server.client("door-1").readline(), client.write("old"))))[0], "old")
        self.assertIn("NotHoldline", self.names(client))
        listener.close()


if __name__ == "__main__":
    unittest.main()
