"""Bench for `hw.record_writer`."""

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.record_writer import RecordWriter, record_layout
from tests.hw.vector_stream import seeded
from tests.support.bench import (
    STALLS,
    collects,
    measures,
    obeys_rules,
    params,
    sends,
    start,
    watchdog,
)

PORT, SIZE = params()["port_bytes"], params()["record_bytes"]
DUT = RecordWriter(port_bytes=PORT, record_bytes=SIZE)
RECORD = record_layout(SIZE)
COMMAND, BEAT = DUT.o_write.payload.shape(), DUT.o_wdata.payload.shape()
BEATS = max(1, SIZE // PORT)


def some_records(rng, count):
    """Return records at both ends of memory and in every place of a beat."""
    last = (1 << 32) // SIZE - 1
    places = [0, last, *range(2 * PORT // SIZE + 1)]
    places += [rng.randrange(last) for _ in range(count - len(places))]
    return [{"addr": SIZE * place, "data": rng.getrandbits(8 * SIZE)} for place in places]


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), write_stall=list(STALLS), data_stall=list(STALLS))
async def records_are_written_and_nothing_else(dut, i_stall, write_stall, data_stall):
    records = some_records(seeded(), 60)
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20_000))
    for name in ("o_write", "o_wdata"):
        cocotb.start_soon(obeys_rules(dut, name))
    cocotb.start_soon(sends(dut, "i_record", RECORD, records, stall=STALLS[i_stall]))
    count = len(records)
    commands = cocotb.start_soon(
        collects(dut, "o_write", COMMAND, count, stall=STALLS[write_stall])
    )
    beats = await collects(dut, "o_wdata", BEAT, count * BEATS, stall=STALLS[data_stall])
    for number, (record, command) in enumerate(zip(records, await commands, strict=True)):
        assert command == {"addr": record["addr"] // PORT * PORT, "beats": BEATS}
        memory = {}
        for index, beat in enumerate(beats[number * BEATS : (number + 1) * BEATS]):
            memory |= {
                command["addr"] + index * PORT + lane: value
                for lane, value in enumerate(beat["data"])
                if beat["strobe"] >> lane & 1
            }
        expected = record["data"].to_bytes(SIZE, "little")
        assert memory == {record["addr"] + n: byte for n, byte in enumerate(expected)}, number


@cocotb.test()
async def timing_is_as_documented(dut):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 1000))
    dut.o_write__ready.value = 1
    dut.o_wdata__ready.value = 1
    cocotb.start_soon(sends(dut, "i_record", RECORD, some_records(seeded(), 4)))
    each = 2 + BEATS
    records = cocotb.start_soon(measures(dut, "i_record", "i_record", 3))
    first = cocotb.start_soon(measures(dut, "i_record", "o_write", 3))
    beats = cocotb.start_soon(measures(dut, "o_write", "o_wdata", BEATS))
    assert await first == (1, 2 * each + 1)
    assert await records == (0, 2 * each + 1)
    assert await beats == (1, BEATS)


@cocotb.test()
async def it_is_busy_while_a_record_is_inside(dut):
    await start(dut)
    await ReadOnly()
    assert not dut.busy.value
    await RisingEdge(dut.clk)
    await sends(dut, "i_record", RECORD, some_records(seeded(), 1)[:1])
    for name, count in (("o_write", 1), ("o_wdata", BEATS)):
        for _ in range(count):
            await ReadOnly()
            assert dut.busy.value
            assert getattr(dut, f"{name}__valid").value
            await RisingEdge(dut.clk)
            getattr(dut, f"{name}__ready").value = 1
            await RisingEdge(dut.clk)
            getattr(dut, f"{name}__ready").value = 0
    for _ in range(5):
        await ReadOnly()
        assert not dut.busy.value
        assert not dut.o_write__valid.value
        assert not dut.o_wdata__valid.value
        await RisingEdge(dut.clk)
