"""WiFi under holdline_client.py, on a board that runs MicroPython: `Client(..., network=Wifi("ssid", "password"))`."""

import asyncio
import network


class Wifi:
    """The board's WiFi as a station; its access point is switched off.

    Without an `ssid` it joins what the board remembers, as an ESP8266 does. patience (ms, default 10 000): how long one
    attempt to join may take; the client tries again, with longer and longer pauses.
    """

    def __init__(self, ssid="", password="", patience=10000):
        self.credentials, self.patience = (ssid, password) if ssid else (), patience
        self.station = network.WLAN(network.STA_IF)
        network.WLAN(network.AP_IF).active(False)

    async def join(self):
        """Whether the network is joined, within `patience`."""
        self.station.active(True)
        if not self.is_up():
            try:
                self.station.connect(*self.credentials)
            except OSError:
                pass  # an ESP32 joins again by itself, and refuses to be told while it tries
        for _ in range(self.patience // 250):
            if self.is_up():
                return True
            await asyncio.sleep(0.25)
        await self.leave()
        return False

    async def leave(self):
        """Leaves, also if it has not joined."""
        try:
            self.station.disconnect()
        except OSError:
            pass

    def is_up(self):
        """Whether the network is joined still."""
        return self.station.isconnected()
