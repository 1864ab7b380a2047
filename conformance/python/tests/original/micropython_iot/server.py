"""The original's `server` module, by its names."""

import asyncio

from holdline_server import Server

_server = None


class Connection:
    """One client; made by `client_conn`."""

    def __init__(self, session):
        self._session = session

    async def readline(self):
        return await self._session.readline() + "\n"

    async def write(self, buf, qos=True, wait=True):
        await self._session.write(buf.rstrip("\n"))

    @classmethod
    def close_all(cls):
        _server.listener.close()


async def client_conn(client_id):
    """Returns when this client is connected."""
    while _server is None:
        await asyncio.sleep(0.01)
    session = _server.client(client_id)
    await session.connected()
    return Connection(session)


async def run(expected, verbose=False, port=8123, timeout=2000):
    """Serves, for ever."""
    global _server
    _server = await Server("127.0.0.1", port, serves=("classic-2020",), classic_timeout=timeout).start()
    await asyncio.Event().wait()
