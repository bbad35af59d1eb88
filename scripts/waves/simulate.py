"""Runs cocotb tests with a waveform, and says in lines what failed of the run itself."""

import subprocess

from sim import verilate
from tests.support.runner import SEED

__all__ = ["simulate"]


def simulate(executable, bench, *, tests, timeout, run_dir, **options):
    """Run tests of a bench; return a line for each that failed, and one if none ran to its end.

    Parameters
    ----------
    executable, bench, run_dir, **options
        As for `sim.verilate.run`.
    tests : str
        Regular expression of the tests' names, without their module.
    timeout : float
        Seconds.
    """
    try:
        result = verilate.run(
            executable,
            bench,
            tests=rf"\.({tests})$",
            seed=SEED,
            timeout=timeout,
            run_dir=run_dir,
            **options,
        )
    except subprocess.TimeoutExpired:
        return [f"not over after {timeout} s, see {run_dir / 'run.log'}"]
    problems = [f"{name}: {message}" for name, message in result.messages.items()]
    if not result.ok and not problems:
        problems = [f"no test {tests} ran to its end, see {result.log}"]
    return problems
