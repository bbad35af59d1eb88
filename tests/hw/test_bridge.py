"""Tests of `hw.board.bridge` and the units that it is made of, and of `hw.spec.bridge`."""

import random

import pytest

from hw.board.bridge import Bridge
from hw.board.bridge_memory import BridgeMemory
from hw.spec.bridge import (
    ESCAPE,
    FLAG,
    PING_BYTES,
    config_digest,
    decode_frame,
    decode_ping,
    encode_frame,
    encode_request,
)
from hw.spec.presets import PRESETS
from tests.support.runner import run_bench

PARAMS = {
    "board": "ulx3s",
    "config_digest": 0xFEDC_BA98,
    "clock_hz": 100_000_000,
    "memory_bytes": 1 << 15,
    "bus_timeout": 500,
}


@pytest.mark.parametrize("port_bytes", [4, 8, 16])
def test_bridge(port_bytes):
    run_bench(
        Bridge(port_bytes=port_bytes, **PARAMS),
        "tests.hw.bench_bridge",
        name=f"bridge_{port_bytes}",
        params=PARAMS,
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("board", "arty", "board must be one of ulx3s, ulx4m_ls, not 'arty'"),
        ("clock_hz", 0, "clock_hz must be positive, not 0"),
        ("memory_bytes", -1, "memory_bytes must be positive, not -1"),
        ("bus_timeout", 0, "bus_timeout must be positive, not 0"),
    ],
)
def test_parameters_are_checked(name, value, message):
    with pytest.raises(ValueError, match=message):
        Bridge(**PARAMS | {name: value})


def test_port_must_be_a_power_of_two():
    with pytest.raises(ValueError, match="port_bytes must be a power of two from 1, not 12"):
        BridgeMemory(port_bytes=12)


def test_frame_survives_the_line():
    rng = random.Random(3)
    for size in (1, 2, 50, 520):
        body = bytes(rng.choice((FLAG, ESCAPE, rng.randrange(256))) for _ in range(size))
        line = encode_frame(body)
        assert line[0] == line[-1] == FLAG
        assert FLAG not in line[1:-1]
        assert decode_frame(line[1:-1]) == body
        assert decode_frame(line[1:-2]) is None
        assert decode_frame(line[2:-1]) is None
    assert decode_frame(b"") is None
    # Nothing, and its CRC of 0, is no frame either.
    assert decode_frame(bytes(4)) is None


def test_crc_is_the_one_of_the_standard():
    # The check value of CRC-32/ISO-HDLC.
    assert encode_frame(b"123456789") == b"\x7e123456789" + 0xCBF43926.to_bytes(4, "little") + b"~"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("sequence", 256, "sequence must be 0 to 255, not 256"),
        ("count", 1 << 16, "count must be 0 to 65535, not 65536"),
        ("addr", -1, "addr must be 0 to 4294967295, not -1"),
    ],
)
def test_request_field_must_hold_its_value(field, value, message):
    with pytest.raises(ValueError, match=message):
        encode_request("ping", **{"sequence": 0} | {field: value})


def test_short_ping_is_refused():
    with pytest.raises(ValueError, match=f"must have {PING_BYTES} bytes, not 3"):
        decode_ping(b"abc")


def test_digest_tells_configurations_apart():
    assert len({config_digest(config) for config in PRESETS.values()}) == len(PRESETS)
