"""The client of this directory against the real holdline-server, and the server against the real `connect` client.

The program is taken from HOLDLINE_SERVER, or from where cargo builds it; the tests are skipped when there is none:

    cargo build --release -p holdline-server && python3 -m unittest tests.test_real
"""

import asyncio
import json
import os
import random
import tempfile
import unittest

from .pair import Wire, soon, until
from holdline_client import Client, FileStore
from holdline_server import Server


def program():
    here = os.path.dirname(os.path.abspath(__file__))
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(here, "..", "..", "..", "target"))
    names = [os.environ.get("HOLDLINE_SERVER", "")] + [os.path.join(target, kind, "holdline-server") for kind in ("release", "debug")]
    return next((name for name in names if name and os.access(name, os.X_OK)), None)


@unittest.skipUnless(program(), "no holdline-server is built")
class Real(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.processes, self.clients, self.wires, self.server = [], [], [], None

    async def asyncTearDown(self):
        for client in self.clients:
            await soon(client.close())
        for wire in self.wires:
            await wire.close()
        if self.server:
            await self.server.shutdown(bound=1000)
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            process.stdin.close()
            await process.wait()

    async def run_program(self, *arguments, log=asyncio.subprocess.DEVNULL):
        process = await asyncio.create_subprocess_exec(
            program(), *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log)
        self.processes.append(process)
        return process

    async def serve(self, *arguments):
        """A real server behind a wire; returns the process and the wire."""
        process = await self.run_program("serve", "--listen", "127.0.0.1:0", *arguments, log=asyncio.subprocess.PIPE)
        port = None
        while port is None:
            line = (await soon(process.stderr.readline())).decode()
            self.assertTrue(line, "it ended before it listened")
            for word in line.split():
                if word.strip(".,;").startswith("127.0.0.1:"):
                    port = int(word.strip(".,;").split(":")[1])
        self.drain = asyncio.create_task(process.stderr.read())
        self.wires.append(await Wire(port).start())
        return process, self.wires[-1]

    def connect(self, wire, id="door-1", timeout=1000, **settings):
        self.clients.append(Client(*wire.address, id, timeout=timeout, backoff=(50, 200), **settings).start())
        return self.clients[-1]

    async def test_messages_go_both_ways_once_over_cuts(self):
        process, wire = await self.serve("--app", "echo")
        client, dice = self.connect(wire), random.Random(3)

        async def send():
            for i in range(100):
                self.assertTrue(await client.write("count %d" % i))

        async def cut():
            while True:
                await asyncio.sleep(dice.random() / 4)
                wire.cut()

        cutting = asyncio.create_task(cut())
        sending = asyncio.create_task(send())
        self.assertEqual([await soon(client.readline()) for _ in range(100)], ["count %d" % i for i in range(100)])
        await asyncio.wait_for(sending, 60)
        cutting.cancel()
        self.assertGreater(client.links, 1)

    async def test_what_is_sent_is_printed_and_what_is_typed_arrives(self):
        process, wire = await self.serve()
        client = self.connect(wire)
        self.assertTrue(await soon(client.write("opened")))
        self.assertEqual(json.loads(await soon(process.stdout.readline())), {"client": "door-1", "text": "opened"})
        process.stdin.write(b"door-1 light on\n")
        self.assertEqual(await soon(client.readline()), "light on")
        self.assertTrue(client.datagram("temp=21.5"))
        self.assertEqual(json.loads(await soon(process.stdout.readline()))["text"], "temp=21.5")

    async def test_a_client_that_keeps_both_goes_on_after_a_restart(self):
        process, wire = await self.serve()
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "door-1")
            client = self.connect(wire, keeps="both", store=FileStore(path))
            self.assertTrue(await soon(client.write("1")))
            wire.swallow = True
            client.send("2")
            client.send("3")
            client.task.cancel()
            self.clients.remove(client)
            wire.cut()
            wire.swallow = False
            client = self.connect(wire, keeps="both", store=FileStore(path))
            self.assertTrue(await soon(client.write("4")))
            got = [json.loads(await soon(process.stdout.readline()))["text"] for _ in range(4)]
            self.assertEqual(got, ["1", "2", "3", "4"])
            await soon(client.close())
        self.clients.remove(client)

    async def test_a_classic_client_is_served(self):
        for profile, timeout in (("classic-2020", 20000), ("classic-2019", 2000)):  # 2019: a write takes T
            with self.subTest(profile=profile):
                process, wire = await self.serve(
                    "--app", "echo", "--classic-flavour", profile, "--classic-timeout", "%dms" % timeout)
                client = self.connect(wire, "meter-1", timeout, profile=profile)
                self.assertEqual((await soon(asyncio.gather(client.write("21.5"), client.readline()))), [True, "21.5"])
                self.assertEqual((await soon(asyncio.gather(client.write("22.0"), client.readline()))), [True, "22.0"])

    async def test_the_real_device_counts_no_loss_and_no_repeat_over_cuts(self):
        for profile in ("native", "classic-2020"):
            with self.subTest(profile=profile):
                self.server = await Server("127.0.0.1", 0, classic_timeout=600).start()
                wire = await Wire(self.server.address[1]).start()
                self.wires.append(wire)
                device = await self.run_program("connect", "--id", "door-1", "--server", "%s:%d" % wire.address, "--profile", profile,
                                                "--timeout", "600ms", "--count", "60", "--rate", "100")
                door, got = self.server.client("door-1"), []
                while len(got) < 60:
                    got.append(await soon(door.readline()))
                    if len(got) in (10, 30):
                        wire.cut()
                self.assertEqual([text.split()[0] for text in got], ["count=%d" % i for i in range(1, 61)])
                device.stdin.close()
                self.assertEqual(await soon(device.wait()), 0)
                await self.server.shutdown(bound=1000)

    async def test_the_real_device_is_told_that_the_server_closes_and_comes_back(self):
        self.server = await Server("127.0.0.1", 0).start()
        port = self.server.address[1]
        device = await self.run_program("connect", "--id", "door-1", "--server", "127.0.0.1:%d" % port, "--stay")
        door = self.server.client("door-1")
        await until("up", door.status)
        await self.server.shutdown(retry=100)
        self.server = await Server("127.0.0.1", port).start()
        device.stdin.write(b"still here\n")
        self.assertEqual(await soon(self.server.client("door-1").readline()), "still here")


if __name__ == "__main__":
    unittest.main()
