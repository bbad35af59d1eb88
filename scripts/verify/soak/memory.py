"""Random timing of the memory channels."""

__all__ = ["draw_timing", "slowness"]


def _channel(rng):
    """Return the options of one channel: fast and regular, usual, or anything."""
    kind = rng.random()
    if kind < 0.25:
        return {"latency": rng.randint(1, 8), "refresh_interval": 0, "row_miss_cycles": 0}
    if kind < 0.4:
        return {}
    refresh = rng.choice((0, rng.randint(200, 4000)))
    return {
        "latency": rng.choice((rng.randint(1, 20), rng.randint(20, 120))),
        "outstanding": rng.choice((1, 2, 4, 16)),
        "row_bytes": rng.choice((256, 1024, 8192)),
        "banks": rng.choice((1, 2, 8)),
        "row_miss_cycles": rng.randint(0, 30),
        "turn_cycles": rng.randint(0, 12),
        "refresh_interval": refresh,
        "refresh_cycles": rng.randint(1, 60),
        "write_wait": rng.choice((1, 16, 64, 300)),
    }


def draw_timing(rng, channels):
    """Return options of `sim/harness/axi_dram.cpp` for so many channels.

    Sometimes each channel has its own, so that tiles run apart.
    """
    if channels == 1 or rng.random() < 0.5:
        return _channel(rng)
    return {
        f"{name}{channel}": value
        for channel in range(channels)
        for name, value in _channel(rng).items()
    }


def slowness(timing):
    """Return a factor that a run is slower by at most, against memory without a wait."""
    latency = max([30, *(v for k, v in timing.items() if k.startswith("latency"))])
    outstanding = min([16, *(v for k, v in timing.items() if k.startswith("outstanding"))])
    miss = max([8, *(v for k, v in timing.items() if k.startswith("row_miss"))])
    return 1.5 + (latency + 2 * miss) / (8 * outstanding)
