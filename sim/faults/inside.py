"""The part of a campaign that lives inside the simulator: one run for each fault."""

import json
import os
import pickle
from pathlib import Path

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge, SimTimeoutError, with_timeout

from hw.spec.csr import STATUS
from sim.device.cocotb_transport import CocotbTransport
from sim.device.device import Device
from sim.device.error import DeviceError
from sim.faults.case import DRIVER, Case
from sim.faults.injector import DRAM, FAULTS

__all__ = ["campaign"]

CLOCK_NS = 10


class _Runs:
    """One simulator, and run after run of the same request from a clean state."""

    def __init__(self, dut, given):
        self.dut = dut
        self.compiled = pickle.loads(Path(given["compiled"]).read_bytes())
        self.given = given
        self.transport = CocotbTransport(dut, given["image"])
        self.clean = self.transport.memory.copy()
        self.tables = set(given["tables"])
        dut.fault_armed.value = 0

    async def once(self, case):
        """Run the request and make the fault; return what the host saw."""
        dut = self.dut
        self.transport.memory[:] = self.clean
        await self.transport.reset()
        await self._channel("ecc", int(case is not None and case.ecc))
        device = Device(self.transport, self.compiled)
        await device.attach()
        await device.set_register("watchdog", self.given["watchdog"])
        corrected = int(dut.dram0_ecc_corrected.value)
        seen = {"tokens": [], "candidates": None, "error": None, "hang": False}
        self._set(case)
        begin = int(dut.cycle.value)
        dut.fault_armed.value = 1
        if case and case.reset:
            await self._resets(device, case)
            device = Device(self.transport, self.compiled)
            await device.attach()
        limit = self.given["limit"] * CLOCK_NS
        requests = cocotb.start_soon(self._requests(device, seen))
        try:
            await with_timeout(requests, limit, "ns")
        except SimTimeoutError:
            requests.cancel()
            seen["hang"] = True
        seen["cycles"] = int(dut.cycle.value) - begin
        dut.fault_armed.value = 0
        seen["corrected"] = int(dut.dram0_ecc_corrected.value) - corrected
        seen["swept"] = 0
        if not seen["hang"]:
            seen["swept"] = await device.register("parity_errors")
        await self._mends(case)
        return seen

    async def _requests(self, device, seen):
        try:
            await self._run(device, seen)
        except DeviceError as error:
            seen["error"] = str(error)
        except (KeyError, ValueError, IndexError, StopIteration) as error:
            seen["error"] = f"{DRIVER}: {error!r}"

    async def _run(self, device, seen):
        given = self.given
        number = await device.submit(given["prompt"], given["count"], report=given["report"])
        await device.start()
        async for event in device.events():
            if event.request_id != number:
                raise ValueError(f"an event of request {event.request_id}")
            if event.kind not in ("token", "end"):
                seen["error"] = f"event {event.kind}, cause {event.cause}"
                continue
            seen["tokens"].append(event.token)
            if event.kind == "end":
                seen["candidates"] = [list(pair) for pair in device.candidates(number)]

    def _set(self, case):
        """Say what is to happen, before the count of cycles starts."""
        dut = self.dut
        if case is None or case.reset:
            dut.fault_cycle.value = 0xFFFF_FFFF
            return
        dut.fault_cycle.value = case.cycle
        in_chip = case.target is not None
        dut.fault_target.value = case.target if in_chip else DRAM
        dut.fault_row.value = case.row if in_chip else case.fault
        dut.fault_bit.value = case.bit
        dut.fault_a.value, dut.fault_b.value = case.a, case.b

    async def _channel(self, kind, a):
        """Make a fault of the memory channel at once."""
        dut = self.dut
        dut.fault_target.value, dut.fault_row.value = DRAM, FAULTS[kind]
        dut.fault_a.value, dut.fault_b.value, dut.fault_cycle.value = a, 0, 1
        dut.fault_armed.value = 1
        await ClockCycles(dut.clk, 4)
        dut.fault_armed.value = 0
        await ClockCycles(dut.clk, 2)

    async def _mends(self, case):
        """Flip a table's bit back: nobody writes it."""
        await RisingEdge(self.dut.clk)
        if case and case.target in self.tables:
            self.dut.fault_cycle.value = 1
            self.dut.fault_armed.value = 1
            await ClockCycles(self.dut.clk, 4)
            self.dut.fault_armed.value = 0
            await ClockCycles(self.dut.clk, 2)

    async def _resets(self, device, case):
        """Begin a run, and reset the chip in it."""
        await device.submit(self.given["prompt"], self.given["count"])
        await device.start()
        await ClockCycles(self.dut.clk, max(1, case.cycle))
        await self.transport.reset(case.reset)
        assert not await device.register("status") & 1 << STATUS["busy"]
        self.transport.memory[:] = self.clean


@cocotb.test()
async def campaign(dut):
    """Run all cases that ``SERRANO_FAULTS`` names; write a JSON line for each as it comes."""
    given = json.loads(Path(os.environ["SERRANO_FAULTS"]).read_text())
    runs = _Runs(dut, given)
    with Path(given["out"]).open("a") as out:
        for fields in given["cases"]:
            case = Case(**fields) if fields else None
            seen = await runs.once(case)
            out.write(json.dumps({"case": fields, "seen": seen}) + "\n")
            out.flush()
