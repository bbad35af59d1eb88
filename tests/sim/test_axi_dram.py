import json

import pytest

from sim import verilate
from sim.harness.harness import HERE

SIZE = 1 << 16
TIMINGS = {
    "plain": {"latency": 30, "refresh_interval": 0},
    "quickest": {"latency": 1, "refresh_interval": 0, "row_miss_cycles": 0, "turn_cycles": 0},
    "slow": {"latency": 200, "refresh_interval": 700, "refresh_cycles": 100, "turn_cycles": 20},
    "small_rows": {"latency": 9, "row_bytes": 64, "banks": 2, "refresh_interval": 50},
    "one_outstanding": {"latency": 5, "outstanding": 1},
}


@pytest.fixture(scope="module")
def simulator():
    sources = [HERE / "axi_dram.sv", HERE / "axi_dram.cpp"]
    return verilate.build(
        sources,
        "axi_dram",
        "build/tests/axi_dram",
        fast=False,
        parameters={"DATA_BYTES": 16, "CHANNEL": 1},
    )


def result_of(simulator, folder, tests, *, file_size=SIZE, **options):
    image = folder / "image"
    image.write_bytes(bytes(file_size))
    return verilate.run(
        simulator,
        "tests.sim.bench_axi_dram",
        top="axi_dram",
        run_dir=folder,
        plusargs=[f"+image1={image}", *(f"+{name}={value}" for name, value in options.items())],
        env={"SERRANO_PARAMS": json.dumps({"size": SIZE, "image": str(image), **options})},
        tests=rf"\.{tests}($|/)",
    )


def run(*arguments, **options):
    result = result_of(*arguments, **options)
    assert result.ok, result.messages or result.log.read_text()


@pytest.mark.parametrize("options", TIMINGS.values(), ids=TIMINGS)
def test_reads_what_was_written(simulator, tmp_path, options):
    run(simulator, tmp_path, "random_accesses", **options)


@pytest.mark.parametrize("latency", [1, 2, 30, 200])
def test_first_beat_comes_after_the_latency(simulator, tmp_path, latency):
    run(simulator, tmp_path, "latency", latency=latency, refresh_interval=0, row_miss_cycles=0)


def test_queued_bursts_stream_without_a_gap(simulator, tmp_path):
    run(simulator, tmp_path, "streams", latency=30, outstanding=40, refresh_interval=0)


def test_refresh_stops_the_stream(simulator, tmp_path):
    run(simulator, tmp_path, "refreshes", latency=1, refresh_interval=500, refresh_cycles=40)


def test_row_miss_waits_only_within_a_bank(simulator, tmp_path):
    run(simulator, tmp_path, "row_misses", latency=1, refresh_interval=0, row_miss_cycles=8)


def test_turn_of_the_bus_costs_cycles(simulator, tmp_path):
    run(simulator, tmp_path, "turns", latency=1, refresh_interval=0, turn_cycles=11)


def test_outside_the_image_is_decerr(simulator, tmp_path):
    run(simulator, tmp_path, "outside", latency=3)


def test_channel_may_be_a_part_of_its_file(simulator, tmp_path):
    run(simulator, tmp_path, "outside", file_size=3 * SIZE, channel_bytes=SIZE, latency=3)
    written = (tmp_path / "image").read_bytes()
    # The simulator's is channel 1; the bench wrote this, and nothing elsewhere.
    assert written.strip(b"\0") == bytes(range(1, 17))
    assert written.index(1) == 2 * SIZE - 16


@pytest.mark.parametrize("channel_bytes", [0, SIZE + 1])
def test_file_must_have_the_channel(simulator, tmp_path, channel_bytes):
    options = {"file_size": 2 * SIZE, "channel_bytes": channel_bytes}
    result = result_of(simulator, tmp_path, "outside", **options)
    assert not result.ok
    assert f"has no {channel_bytes} bytes of channel 1" in result.log.read_text()


def test_chosen_address_is_slverr(simulator, tmp_path):
    run(simulator, tmp_path, "slverr", latency=3, slverr_addr=0x1234)


def test_slverr_happens_as_often_as_asked(simulator, tmp_path):
    run(simulator, tmp_path, "slverr_once", slverr_addr1=0x40, slverr_count=1)


def test_fixed_and_wrapping_bursts_are_slverr(simulator, tmp_path):
    run(simulator, tmp_path, "other_bursts", latency=1)


def test_flipped_bit_is_read_without_ecc(simulator, tmp_path):
    run(simulator, tmp_path, "flipped_bit_without_ecc", flip_addr=0x123, flip_bits=0x40)


def test_one_flipped_bit_is_corrected_with_ecc(simulator, tmp_path):
    run(simulator, tmp_path, "one_flipped_bit_with_ecc", ecc=1, flip_addr=0x123, flip_bits=0x40)


def test_two_flipped_bits_are_found_with_ecc(simulator, tmp_path):
    run(simulator, tmp_path, "two_flipped_bits_with_ecc", ecc=1, flip_addr=0x123, flip_bits=0x41)
