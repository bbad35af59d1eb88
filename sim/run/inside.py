"""The part of a run that lives inside the simulator: a cocotb test that is given requests."""

import json
import os
import pickle
import time
from pathlib import Path

import cocotb
from cocotb.triggers import ClockCycles, First, Lock, Timer

from hw.spec.csr import STATUS
from sim.device.cocotb_transport import CocotbTransport
from sim.device.device import Device
from sim.device.error import ChipError, RequestFailed
from sim.harness.harness import COUNTERS

__all__ = ["connect", "serves"]

CLOCK_NS = 10
HEARTBEAT_CYCLES = 20_000


async def connect(dut, compiled, image, *, reset_cycles=4):
    """Reset the chip; return a checked `Device` whose memory holds the image already."""
    transport = _Transport(dut, image)
    await transport.reset(reset_cycles)
    return await _begin(transport, compiled)


async def _begin(transport, compiled):
    """Return a host that knows nothing of what was before."""
    device = Device(transport, compiled)
    await device.check()
    await device.attach()
    return device


class _Transport(CocotbTransport):
    """Accesses from several tasks, one at a time; ``alone`` is held during each."""

    def __init__(self, dut, image):
        super().__init__(dut, image)
        self.alone = Lock()

    async def read(self, offset):
        async with self.alone:
            return await super().read(offset)

    async def write(self, offset, value):
        async with self.alone:
            await super().write(offset, value)


class _Events:
    """A file of JSON lines that the parent process reads while it grows."""

    def __init__(self, dut, path):
        self._dut = dut
        self._file = Path(path).open("a")

    def __call__(self, kind, **event):
        event |= {"kind": kind, "cycle": int(self._dut.cycle.value), "time": time.monotonic()}
        self._file.write(json.dumps(event) + "\n")
        self._file.flush()


class _Client:
    """Submits the requests as they arrive, and tells the parent what becomes of them."""

    def __init__(self, device, tell, requests, max_prefill):
        self._device, self._tell, self._requests = device, tell, requests
        self._max_prefill = max_prefill
        self._waiting = sorted(range(len(requests)), key=lambda n: requests[n]["arrives"])
        self._reports, self._left, self._seen = {}, {}, 0
        self._prefixes = {}

    async def keep(self, prefixes):
        """Keep each of ``prefixes``, lists of tokens."""
        for tokens in prefixes:
            prefix = await self._device.keep(tokens)
            self._prefixes[prefix.tokens] = prefix
            self._tell("kept", request=prefix.request_id, pages=prefix.pages)

    async def run(self):
        """Run all requests to their end."""
        while self._waiting:
            await self._submit()  # an arrival counts events, and none will come
            await self._submit_those_due()
            await self._device.start(max_prefill=self._max_prefill)
            async for event in self._device.events():
                self._seen += 1
                await self._show(event)
                await self._submit_those_due()

    async def _submit_those_due(self):
        while self._waiting and self._requests[self._waiting[0]]["arrives"] <= self._seen:
            await self._submit()

    async def _submit(self):
        index = self._waiting.pop(0)
        request = self._requests[index]
        begins = tuple(request["prompt"][: request["prefix"]])
        number = await self._device.submit(
            request["prompt"],
            request["max_tokens"],
            eos_token=request["eos_token"],
            prefix=self._prefixes.get(begins),
            **request["sampling"],
        )
        fields = self._device.fields_of(number)
        pages = self._device.pages_of(number)
        self._tell(
            "submitted", request=number, index=index, pages=pages, start_pos=fields["start_pos"]
        )
        self._reports[number] = request["report"] > 0
        self._left[number] = request["cancel_after"]
        if request["cancel_after"] == 0:
            await self._device.cancel(number)

    async def _show(self, event):
        number = event.request_id
        shown = {"request": number, "at": event.cycle}
        if event.kind in ("token", "end"):
            shown |= {"token": event.token, "position": event.position}
            if event.kind == "end" and self._reports[number]:
                shown["candidates"] = self._device.candidates(number)
        elif event.kind == "failed":
            failed = RequestFailed(event)
            shown |= {"cause": failed.cause, "detail": failed.detail, "text": str(failed)}
        self._tell(event.kind, **shown)
        if event.kind == "token" and self._left[number] is not None:
            self._left[number] -= 1
            if self._left[number] == 0:
                await self._device.cancel(number)


async def _break_off(dut, device, client, prefixes, how):
    """Let a client run for a while, and leave it; return the device of a host that begins anew.

    ``how``: fields of an `Interruption`.
    """

    async def whole():
        await client.keep(prefixes)
        await client.run()

    task = cocotb.start_soon(whole())
    await First(task, ClockCycles(dut.clk, how["after_cycles"]))
    transport = device.transport
    if how["kind"] == "reset":
        if not task.done():
            task.cancel()
        transport = _Transport(dut, transport.path)
        await transport.reset(how["reset_cycles"])
    else:
        async with transport.alone:
            if not task.done():
                task.cancel()
        await device.stop()
        while await device.register("status") & 1 << STATUS["busy"]:
            pass
    return await _begin(transport, device.compiled)


@cocotb.test()
async def serves(dut):
    """Run what ``SERRANO_RUN`` says, telling the parent about each event."""
    run = json.loads(os.environ["SERRANO_RUN"])
    compiled = pickle.loads(Path(run["compiled"]).read_bytes())
    tell = _Events(dut, run["events"])

    async def heart():
        while True:
            await Timer(HEARTBEAT_CYCLES * CLOCK_NS, "ns")
            tell("alive")
            if int(dut.cycle.value) > run["max_cycles"]:
                raise TimeoutError(f"not finished after {int(dut.cycle.value)} cycles")

    device = await connect(dut, compiled, run["image"])
    cocotb.start_soon(heart())
    tell("start")
    for one in run["interruptions"]:
        client = _Client(device, tell, run["requests"], run["max_prefill"])
        device = await _break_off(dut, device, client, run["prefixes"], one)
        tell("interrupted")
    client = _Client(device, tell, run["requests"], run["max_prefill"])
    error = None
    try:
        await client.keep(run["prefixes"])
        await client.run()
    except ChipError as raised:
        error = {
            "cause": raised.cause,
            "addr": raised.addr,
            "operator": raised.operator,
            "text": str(raised),
        }
    tell(
        "over",
        counters=await device.counters(),
        error=error,
        memory=[
            {name: int(getattr(dut, f"dram{channel}_{name}").value) for name in COUNTERS}
            for channel in range(compiled.config.tiles)
        ],
    )
