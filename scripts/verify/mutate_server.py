"""The first test of a bench under mutation: one process for each mutant, from a loaded simulator.

Loading a bench costs more than a mutant does, so the simulator loads it once and forks.
"""

import atexit
import json
import os
import resource
import signal
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cocotb
from cocotb.triggers import Timer

from scripts.verify.mutate_netlist import SELECT

__all__ = ["RESULTS"]

#: File with a line of JSON for each mutant that is done.
RESULTS = "results.jsonl"


@cocotb.test()
async def every_mutant_has_a_process(dut):
    job = json.loads(os.environ["SERRANO_MUTANTS"])
    sys.stdout.flush()
    for number in job["numbers"]:
        results = Path(f"{number}.xml").resolve()
        results.unlink(missing_ok=True)
        child = os.fork()
        if not child:
            os.environ["COCOTB_RESULTS_FILE"] = str(results)
            # A fork has none of the threads that the simulator would wait for at its end.
            atexit.register(os._exit, 0)
            limit = job["limit_s"]
            if limit:
                resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
            getattr(dut, SELECT).value = number
            await Timer(1, "ns")
            return  # and the tests of the bench follow
        _, status, usage = os.wait4(child, 0)
        line = {
            "number": number,
            "killer": _killer(results, status),
            "seconds": round(usage.ru_utime + usage.ru_stime, 3),
        }
        with open(RESULTS, "a") as file:
            file.write(json.dumps(line) + "\n")
        results.unlink(missing_ok=True)
    os._exit(0)


def _killer(results, status):
    """Return what a process found against its mutant, or None."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number in (signal.SIGXCPU, signal.SIGKILL):
            return "time"
        return signal.Signals(number).name
    if not results.exists():
        return "the simulator stopped"
    cases = list(ElementTree.parse(results).iter("testcase"))
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None:
            return case.get("name")
    return None if len(cases) > 1 else "no test ran"
