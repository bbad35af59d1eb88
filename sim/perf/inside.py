"""The part of a measurement that lives inside the simulator: a cocotb test of one workload."""

import json
import os
import pickle
from pathlib import Path

import cocotb

from sim.run.inside import connect

__all__ = ["measures"]


@cocotb.test()
async def measures(dut):
    """Run the workload of ``SERRANO_PERF``; write counters and the cycles of the tokens."""
    job = json.loads(os.environ["SERRANO_PERF"])
    compiled = pickle.loads(Path(job["compiled"]).read_bytes())
    device = await connect(dut, compiled, job["image"])
    for index in range(job["sequences"]):
        pages = range(index * job["pages"], (index + 1) * job["pages"])
        await device.submit(job["prompt"], job["tokens"], pages=pages, start_pos=job["start"])
    began = int(dut.cycle.value)
    await device.start()
    tokens = [event async for event in device.events()]
    result = {
        "began": began,
        "tokens": [entry.token for entry in tokens],
        "token_cycles": [entry.cycle for entry in tokens],
        "counters": await device.counters(),
    }
    Path(job["result"]).write_text(json.dumps(result))
