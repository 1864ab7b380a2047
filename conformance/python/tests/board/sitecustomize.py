"""What MicroPython's `gc` has besides."""

import gc

gc.mem_free = lambda: 100000
