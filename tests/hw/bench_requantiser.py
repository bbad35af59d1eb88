"""Bench for `hw.requantiser`."""

import random

import cocotb

from hw.requantiser import WIDTHS, OutWidth, Requantiser
from hw.spec.formats import ACC_WIDTH, MULTIPLIER_WIDTH, RESIDUAL_WIDTH, SCALED_WIDTH
from sim.golden.fixed import round_shift, saturate
from sim.golden.requantise import requantise
from tests.support.bench import (
    STALLS,
    expects,
    measures,
    obeys_rules,
    params,
    sends,
    start,
    watchdog,
)

LANES = params()["lanes"]
META = params()["meta_width"]
DUT = Requantiser(lanes=LANES, meta_shape=META)
I_ACC = DUT.i_acc.payload.shape()
O_ACT = DUT.o_act.payload.shape()


def limits(width):
    return -(1 << (width - 1)), (1 << (width - 1)) - 1


def clamp(value, width):
    low, high = limits(width)
    return max(low, min(high, value))


def acc_for(rng, scaled, shift1, width):
    """Return a sum that its first shift turns into about ``scaled``, of so many bits."""
    scaled = clamp(scaled, width)
    if shift1 < 0:
        return (abs(scaled) >> -shift1) * (1 if scaled >= 0 else -1)
    low, high = limits(width)
    acc = clamp((scaled << shift1) + rng.randrange(-1 << shift1, 1 << shift1), ACC_WIDTH)
    while not low <= round_shift(acc, shift1) <= high:
        acc += (1 << shift1) * (1 if acc < 0 else -1)
    return acc


def lane(rng, transfer, bits):
    """Return (acc, multiplier, bias) near an interesting result."""
    limit = (1 << (bits - 1)) - 1
    multiplier = rng.choice([0, 1, 1 << 15, (1 << MULTIPLIER_WIDTH) - 1, rng.getrandbits(16)])
    bias = rng.choice([0, 0, *limits(RESIDUAL_WIDTH), rng.randrange(-limit, limit)])
    wanted = rng.choice([limit, -limit, limit + 1, -limit - 1, 0, rng.randrange(-limit, limit)])
    wanted += rng.randrange(-2, 3)
    if transfer["bypass"]:
        width, scaled = ACC_WIDTH, wanted
    else:
        width = SCALED_WIDTH
        scaled = ((wanted - bias) << transfer["shift2"]) // max(multiplier, 1)
    if rng.random() < 0.2:
        scaled = rng.choice(limits(width))
    return acc_for(rng, scaled, transfer["shift1"], width), multiplier, bias


def transfers(seed, count):
    """Return as many transfers, and the results that the golden model gives."""
    rng = random.Random(seed)
    inputs, outputs = [], []
    for number in range(count):
        width = rng.choice(list(OutWidth))
        transfer = {
            "shift1": rng.choice([0, 0, 1, 12, 20, -1, -17, -63, 63, rng.randrange(30)]),
            "bypass": rng.random() < 0.25,
            "shift2": rng.choice([0, 1, 15, 16, 31, 47, 63, rng.randrange(48)]),
            "width": width,
            "meta": number & ((1 << META) - 1),
        }
        bits = WIDTHS[width]
        lanes = [lane(rng, transfer, bits) for _ in range(LANES)]
        acc, multiplier, bias = (list(column) for column in zip(*lanes, strict=True))
        inputs.append(transfer | {"acc": acc, "multiplier": multiplier, "bias": bias})
        shift1, shift2 = transfer["shift1"], transfer["shift2"]
        results, clipped = [], 0
        for j in range(LANES):
            clips = []
            if transfer["bypass"]:
                result = saturate(round_shift(acc[j], shift1), bits, clips.append)
            else:
                result = requantise(
                    acc[j], multiplier[j], shift1, shift2, bits, bias[j], clips.append
                )
            results.append(int(result))
            clipped |= bool(clips) << j
        outputs.append({"data": results, "clipped": clipped, "meta": transfer["meta"]})
    return inputs, outputs


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def output_equals_golden(dut, i_stall, o_stall):
    inputs, outputs = transfers(f"{i_stall} {o_stall}", 1200 // LANES)
    await start(dut)
    cocotb.start_soon(watchdog(dut, 10_000))
    cocotb.start_soon(obeys_rules(dut, "o_act"))
    sender = cocotb.start_soon(sends(dut, "i_acc", I_ACC, inputs, stall=STALLS[i_stall]))
    await expects(dut, "o_act", O_ACT, outputs, stall=STALLS[o_stall])
    await sender


@cocotb.test()
async def every_bit_of_a_sum_counts(dut):
    """Sums that differ in one bit from 0 or -1, not scaled: each bit by itself decides."""
    sums = [sign ^ (1 << place) for place in range(ACC_WIDTH - 1) for sign in (0, -1)]
    inputs, outputs = [], []
    for number, acc in enumerate(sums):
        width = list(OutWidth)[number // 2 % len(OutWidth)]
        shift1 = number % 3
        clips = []
        result = int(saturate(round_shift(acc, shift1), WIDTHS[width], clips.append))
        inputs.append({
            "acc": [acc] * LANES, "multiplier": [1] * LANES, "bias": [1] * LANES, "bypass": True,
            "shift1": shift1, "shift2": 5, "width": width, "meta": number & ((1 << META) - 1),
        })  # fmt: skip
        clipped = (1 << LANES) - 1 if any(clips) else 0
        meta = inputs[-1]["meta"]
        outputs.append({"data": [result] * LANES, "clipped": clipped, "meta": meta})
    await start(dut)
    cocotb.start_soon(watchdog(dut, 1000))
    cocotb.start_soon(sends(dut, "i_acc", I_ACC, inputs))
    await expects(dut, "o_act", O_ACT, outputs)


@cocotb.test()
async def stimuli_clip_some_lanes_and_leave_most(dut):
    await start(dut)
    _, outputs = transfers("never never", 1200 // LANES)
    clipped = sum(output["clipped"].bit_count() for output in outputs)
    assert 100 < clipped < 900


@cocotb.test()
async def latency_and_throughput_are_as_documented(dut):
    inputs, _ = transfers("latency", 50)
    await start(dut)
    cocotb.start_soon(watchdog(dut, 1000))
    cocotb.start_soon(sends(dut, "i_acc", I_ACC, inputs))
    dut.o_act__ready.value = 1
    assert await measures(dut, "i_acc", "o_act", 50) == (Requantiser.LATENCY, 50)
