"""Rung 9: tokens a second and the share of the memory's bandwidth, from the chip's counters."""

from sim.bringup.data_bus import LINES
from sim.bringup.execution import execute
from sim.bringup.operators import failure
from sim.bringup.rung import RungFailed
from sim.bringup.tokens import loaded

__all__ = ["climb", "measure"]


def climb(target):
    """Decode from one token on, and read the counters."""
    settings = target.settings
    name, model = settings.model_name, settings.model
    compiled = loaded(target)
    count = settings.tokens
    result = execute(target, compiled, model, settings.prompt[:1], count, has_cache=False)
    if result.first is not None:
        raise failure(f"tokens of model {name}", result, "rung 8")
    counters = result.counters
    # Weights are read once a pass, and a pass is a token here.
    weights = compiled.config.cols * counters["weight_words"]
    for what, expected, got in (
        ("tokens", count, counters["tokens"]),
        ("passes", count, counters["passes"]),
    ):
        if expected != got:
            raise RungFailed(
                f"counter {what} is wrong",
                expected=str(expected),
                got=str(got),
                look="the counters in `hw/csr.py`, and their reads over the bridge",
            )
    if not counters["cycles"] or not weights:
        raise RungFailed(
            "counters stand still",
            expected="cycles and weight_words above 0",
            got=f"{counters['cycles']} and {counters['weight_words']}",
            look="the counters in `hw/csr.py`",
        )
    clock_hz = target.transport.info["clock_hz"]
    rate, share = measure(counters, count, clock_hz, compiled.config.port_bytes)
    speed = (
        f"model {name}: {rate:.1f} tokens/s at {clock_hz / 1e6:g} MHz "
        f"({counters['cycles'] // count} cycles a token)"
    )
    return [speed, f"SDRAM: {share:.1%} of the bandwidth of its {LINES} data lines"]


def measure(counters, tokens, clock_hz, port_bytes):
    """Return tokens a second, and the share of the bandwidth of the SDRAM's pins."""
    cycles = counters["cycles"]
    moved = (counters["read_beats"] + counters["write_beats"]) * port_bytes
    return tokens * clock_hz / cycles, moved / (cycles * LINES // 8)
