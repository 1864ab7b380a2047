"""A board's `network`, for tests: a station that has joined when it was told the name and the password that the page has."""

STA_IF, AP_IF = 0, 1


class WLAN:
    joined = False
    calls = []

    def __init__(self, interface):
        self.interface = interface

    def active(self, on):
        self.calls.append(("active", self.interface, on))

    def connect(self, *credentials):
        self.calls.append(("connect",) + credentials)
        WLAN.joined = credentials in ((), ("my_ssid", "WiFi_password"))

    def disconnect(self):
        self.calls.append(("disconnect",))
        WLAN.joined = False

    def isconnected(self):
        return WLAN.joined
