"""Whether the memory keeps its data, which it does by being refreshed."""

from sim.bringup.rung import RungFailed

__all__ = ["check", "check_alone"]

_PLACES = 16  # all over the memory: four rows of each bank
_BANK_BYTES = 1 << 10  # after which the next bank comes


def check(target):
    """Write, read at once, wait, read again; return what was found."""
    size = target.transport.info["memory_bytes"]
    _check(
        target,
        [size // _PLACES * index + index % 4 * _BANK_BYTES for index in range(_PLACES)],
    )
    return f"retention: {_PLACES} rows for {target.settings.wait_ms:g} ms"


def check_alone(target):
    """Do so at some places one by one, so that no address line has a say."""
    size = target.transport.info["memory_bytes"]
    for addr in (0, size // 2, size - target.settings.config.port_bytes):
        _check(target, [addr])


def _check(target, addresses):
    count = target.settings.config.port_bytes  # one burst, in which the memory counts by itself
    data = [target.random(addr).bytes(count) for addr in addresses]
    first = []
    for addr, value in zip(addresses, data, strict=True):
        target.write([(addr, value)])
        first += target.read([(addr, count)])
    if first != data:
        at = next(i for i, value in enumerate(data) if first[i] != value)
        raise RungFailed(
            "words are wrong at once",
            expected=f"{data[at].hex()} at {addresses[at]:#x}",
            got=first[at].hex(),
            look="times and capture_delay of the controller",
        )
    wait = target.settings.wait_ms
    target.wait(wait)
    second = target.read([(addr, count) for addr in addresses])
    lost = [index for index in range(len(addresses)) if second[index] != data[index]]
    if lost:
        raise RungFailed(
            f"refresh: rows lose their data within {wait:g} ms",
            expected=f"{data[lost[0]].hex()} at {addresses[lost[0]]:#x}, as it was at first",
            got=f"{second[lost[0]].hex()}; {len(lost)} of {len(addresses)} rows",
            look="the controller's refresh interval and its clock; the chip's temperature",
        )
