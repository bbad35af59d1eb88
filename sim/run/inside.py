"""The part of a run that lives inside the simulator: a cocotb test that is given one request."""

import json
import os
import pickle
import time
from pathlib import Path

import cocotb
from cocotb.triggers import Timer

from sim.device.cocotb_transport import CocotbTransport
from sim.device.device import Device
from sim.device.error import ChipError

__all__ = ["connect", "generates"]

CLOCK_NS = 10
HEARTBEAT_CYCLES = 20_000


async def connect(dut, compiled, image):
    """Reset the chip; return a checked `Device` whose memory holds the image already."""
    transport = CocotbTransport(dut, image)
    await transport.reset()
    device = Device(transport, compiled)
    await device.check()
    await device.attach()
    return device


class _Events:
    """A file of JSON lines that the parent process reads while it grows."""

    def __init__(self, path):
        self._file = Path(path).open("a")

    def __call__(self, **event):
        self._file.write(json.dumps(event | {"time": time.monotonic()}) + "\n")
        self._file.flush()


@cocotb.test()
async def generates(dut):
    """Run the request of ``SERRANO_REQUEST``, telling the parent about each token."""
    request = json.loads(os.environ["SERRANO_REQUEST"])
    compiled = pickle.loads(Path(request["compiled"]).read_bytes())
    event = _Events(request["events"])

    async def heart():
        while True:
            await Timer(HEARTBEAT_CYCLES * CLOCK_NS, "ns")
            cycle = int(dut.cycle.value)
            event(kind="alive", cycle=cycle)
            if cycle > request["max_cycles"]:
                raise TimeoutError(f"not finished after {cycle} cycles")

    device = await connect(dut, compiled, request["image"])
    cocotb.start_soon(heart())
    first = int(dut.cycle.value)
    event(kind="start", cycle=first)
    error = None
    try:
        await device.start(
            request["prompt"],
            request["max_tokens"],
            eos_token=request["eos_token"],
            max_prefill=request["max_prefill"],
        )
        async for entry in device.tokens():
            event(
                kind="token",
                token=entry.token,
                position=entry.position,
                at=entry.cycle,
                cycle=int(dut.cycle.value),
            )
    except ChipError as raised:
        error = {
            "cause": raised.cause,
            "addr": raised.addr,
            "operator": raised.operator,
            "text": str(raised),
        }
    event(
        kind="end",
        cycle=int(dut.cycle.value),
        counters=await device.counters(),
        error=error,
        memory={
            name: int(getattr(dut, f"dram0_{name}").value)
            for name in ("bytes_read", "bytes_written", "busy_cycles")
        },
    )
