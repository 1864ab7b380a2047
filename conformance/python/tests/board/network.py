"""A board's `network`, for tests: a station that has joined when it was told the name and the password that the page has, and
that is not to be told twice."""

STA_IF, AP_IF = 0, 1


class WLAN:
    joined = trying = False
    calls = []

    def __init__(self, interface):
        self.interface = interface

    def active(self, on):
        self.calls.append(("active", self.interface, on))

    def connect(self, *credentials):
        self.calls.append(("connect",) + credentials)
        if self.trying:
            raise OSError("it is trying already")
        WLAN.trying = True
        WLAN.joined = credentials in ((), ("my_ssid", "WiFi_password"))

    def disconnect(self):
        self.calls.append(("disconnect",))
        WLAN.joined = WLAN.trying = False

    def isconnected(self):
        return WLAN.joined
