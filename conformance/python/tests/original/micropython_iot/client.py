"""The original's `client.Client`, by its names."""

import asyncio

from holdline_client import Client as Holdline


class Client:
    """Connects as soon as it is made. `ssid`, `pw` and `wdog` mean something only on a board."""

    def __init__(self, my_id, server, port=8123, ssid="", pw="", timeout=2000, conn_cb=None, conn_cb_args=None, verbose=False,
                 led=None, wdog=False):
        self._toggle = led and (lambda: led(not led()))
        self._conn_cb, self._conn_cb_args = conn_cb, conn_cb_args or ()
        self._line = Holdline(server, port, my_id, profile="classic-2020", timeout=timeout, on_event=self._event,
                              on_heard=self._toggle)
        self._line.start()

    def _event(self, name, info):
        if self._conn_cb and name in ("up", "down"):
            self._conn_cb(name == "up", *self._conn_cb_args)

    def __await__(self):
        return self._line.connected().__await__()

    @property
    def connects(self):
        return self._line.links

    def status(self):
        return self._line.status()

    async def readline(self):
        return await self._line.readline() + "\n"

    async def write(self, buf, qos=True, wait=True):
        await self._line.write(buf.rstrip("\n"))

    def close(self):
        self._line.task.cancel()
