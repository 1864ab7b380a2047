"""Drives the proxy with toxiproxy-python; see README.md."""

import socket
import sys
import time

from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists
from toxiproxy.server import Toxiproxy


def main(api, upstream):
    server = Toxiproxy()
    host, port = api.rsplit(":", 1)
    server.update_api_consumer(host, int(port))
    assert server.running()
    assert b"2.12.0" in server.version(), server.version()
    assert server.proxies() == {}

    proxy = server.create(upstream=upstream, name="echo")
    assert proxy.enabled and proxy.upstream == upstream
    assert round_trip(proxy) < 0.9
    expect(ProxyExists, lambda: server.create(upstream=upstream, name="echo"))

    proxy.add_toxic(type="latency", attributes={"latency": 1000, "jitter": 10})
    toxic = proxy.get_toxic("latency_downstream")
    assert (toxic.type, toxic.stream, toxic.toxicity) == ("latency", "downstream", 1.0)
    assert toxic.attributes == {"latency": 1000, "jitter": 10}
    assert round_trip(proxy) >= 0.98
    expect(ProxyExists, lambda: proxy.add_toxic(type="latency"))
    expect(InvalidToxic, lambda: proxy.add_toxic(type="typhoon"))
    assert proxy.destroy_toxic("latency_downstream")
    expect(NotFound, lambda: proxy.destroy_toxic("latency_downstream"))
    assert proxy.toxics() == {}
    assert round_trip(proxy) < 0.9

    proxy.add_toxic(name="limit", type="limit_data", stream="downstream", toxicity=1.0, attributes={"bytes": 2})
    with connect(proxy) as client:
        client.sendall(b"hello")
        assert read_all(client) == b"he"
    proxy.add_toxic(type="slicer", stream="upstream", attributes={"average_size": 1, "size_variation": 0, "delay": 10})
    assert sorted(proxy.toxics()) == ["limit", "slicer_upstream"]

    with proxy.down():
        try:
            connect(proxy)
            raise AssertionError("a proxy that is down accepts")
        except ConnectionRefusedError:
            pass
        assert not server.get_proxy("echo").enabled
    assert server.get_proxy("echo").enabled

    assert server.reset()
    assert proxy.toxics() == {}
    assert round_trip(proxy) < 0.9

    made = server.populate([
        {"name": "echo", "upstream": upstream, "listen": proxy.listen},
        {"name": "second", "upstream": upstream, "listen": "127.0.0.1:0"},
    ])
    assert [proxy.name for proxy in made] == ["second"]
    assert round_trip(made[0]) < 0.9
    # What Toxiproxy does not have, through the same client.
    made[0].add_toxic(type="black_hole", stream="upstream")
    with connect(made[0]) as client:
        client.sendall(b"waits")
        client.settimeout(0.2)
        expect(socket.timeout, lambda: client.recv(1))
        made[0].destroy_toxic("black_hole_upstream")
        client.settimeout(10)
        assert client.recv(5) == b"waits"

    server.destroy_all()
    assert server.proxies() == {}


def connect(proxy):
    host, port = proxy.listen.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=10)


def round_trip(proxy):
    with connect(proxy) as client:
        began = time.monotonic()
        client.sendall(b"ping")
        assert client.recv(4, socket.MSG_WAITALL) == b"ping"
        return time.monotonic() - began


def read_all(client):
    received = b""
    while True:
        piece = client.recv(100)
        if not piece:
            return received
        received += piece


def expect(error, act):
    try:
        act()
    except error:
        return
    raise AssertionError("no %s" % error.__name__)


main(*sys.argv[1:])
