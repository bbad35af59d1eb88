"""Python's search for garbage in cycles, where it takes long and finds little."""

import contextlib
import gc

__all__ = ["collect_seldom", "uncollected"]


@contextlib.contextmanager
def uncollected():
    """Leave the search out while a component is made and written.

    Amaranth makes millions of small objects and keeps nearly all, through which the search goes
    again and again: for the chip of ``ulx3s`` 6 of 14 seconds. It takes 120 MB more meanwhile.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def collect_seldom():
    """Search after 200,000 new objects, not after 700, from now on.

    For processes that look at each cycle of a simulation: a bench of the matrix unit takes two
    thirds of the time.
    """
    gc.set_threshold(200_000, 10, 10)
