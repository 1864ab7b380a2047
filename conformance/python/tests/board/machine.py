"""A board's `machine`, for tests: a pin that remembers its level, a watchdog that is fed."""


class Pin:
    OUT = 1

    def __init__(self, number, mode, value=0):
        self.level = value

    def __call__(self, *level):
        if level:
            self.level = level[0]
        return self.level


class WDT:
    def __init__(self, timeout=5000):
        self.fed = 0

    def feed(self):
        self.fed += 1
