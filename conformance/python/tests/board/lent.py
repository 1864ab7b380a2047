"""What MicroPython built for WebAssembly lacks, of Node: see micropython.mjs."""

import sys

sys.path.append("/")

import asyncio
import os

import holdline_client
import js


class Os:
    rename = os.rename

    @staticmethod
    def urandom(n):
        return bytes([int(js.Math.random() * 256) for _ in range(n)])


class Reader:
    def __init__(self, socket):
        self.socket = socket

    async def read(self, n):
        return bytes([ord(c) for c in await self.socket.read()])


class Writer:
    def __init__(self, socket):
        self.socket, self.unsent = socket, b""

    def write(self, data):
        self.unsent += data

    async def drain(self):
        self.socket.write("".join([chr(c) for c in self.unsent]))
        self.unsent = b""
        await asyncio.sleep(0)

    def close(self):
        self.socket.close()


async def open_connection(host, port):
    socket = await js.open_socket(host, port)
    return Reader(socket), Writer(socket)


holdline_client.os = Os
asyncio.open_connection = open_connection
