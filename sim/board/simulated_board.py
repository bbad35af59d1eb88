"""A verilated board in a process of its own, whose serial line a host program opens."""

import subprocess
import time
from pathlib import Path

__all__ = ["END_SECONDS", "SOURCES", "BoardError", "SimulatedBoard"]

_HERE = Path(__file__).resolve().parent

#: What `sim.verilate.build` needs for the module ``uart_pty``; its header lies in `sim/harness`.
SOURCES = (_HERE / "uart_pty.sv", _HERE / "uart_pty.cpp")

#: That a simulator may take to end, after its port is gone.
END_SECONDS = 1.0
_START_SECONDS = 30.0
_STOP_SECONDS = 5.0


class BoardError(Exception):
    """The simulated board did not start."""


class SimulatedBoard:
    """Run a simulator with a `uart_pty` in it, until `stop` or the end of a ``with`` block.

    Parameters
    ----------
    executable : Path
        What `sim.verilate.build` returned.
    run_dir : Path
        Folder for its log and the link to its port.
    plusargs : iterable of str
        More arguments of the form ``+name=value``.

    Attributes
    ----------
    port : str
        What a host opens: the same name each time, in ``run_dir``.

    Raises
    ------
    BoardError
        It ended before it had a port, with the end of its log.
    """

    def __init__(self, executable, run_dir, plusargs=()):
        run_dir = Path(run_dir).resolve()
        run_dir.mkdir(parents=True, exist_ok=True)
        link = run_dir / "serial"
        link.unlink(missing_ok=True)
        self.port = str(link)
        self._log = run_dir / "board.log"
        with self._log.open("w") as out:
            self._process = subprocess.Popen(
                [str(executable), f"+uart_link={link}", *plusargs],
                cwd=run_dir,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not link.is_symlink():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise BoardError("\n".join([f"{executable} has no serial port:", *self._lines()]))
            time.sleep(0.01)

    def _lines(self):
        return self._log.read_text(errors="replace").splitlines()[-8:]

    def ended(self, within=0.0):
        """Return the end of the log if the process has ended by itself; else None.

        A port that is gone is seen before the process is: it may end ``within`` so many seconds.
        """
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            return None
        return "\n".join(["the simulator has ended:", *self._lines()])

    def stop(self):
        """End the process, if it has not ended; this is what pulling the cable looks like."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        Path(self.port).unlink(missing_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
