"""Bytes to and from a serial port, real or pretended."""

import errno

import serial

from sim.device.error import DeviceError

__all__ = ["SerialChannel"]

_SLICE_SECONDS = 0.02  # how often a read looks whether its time is over
_WRITE_SECONDS = 30.0  # that a write may take


class SerialChannel:
    """An open serial port, for this process alone.

    Parameters
    ----------
    port : str
        Name of the port, such as ``/dev/ttyUSB0`` or ``/dev/pts/3``.
    baud : int
        Bits per second. A pretended port does not care.

    Raises
    ------
    DeviceError
        There is no such port, it is in use, it may not be opened, or it knows no such rate.
    """

    def __init__(self, port, baud=1_000_000):
        self.name = port
        self.baud = baud
        try:
            self._port = serial.Serial(
                port,
                baud,
                timeout=_SLICE_SECONDS,
                write_timeout=_WRITE_SECONDS,
                exclusive=True,
            )
        except (serial.SerialException, OSError, ValueError) as error:
            raise DeviceError(self._why(error)) from error

    def _why(self, error):
        number = getattr(error, "errno", None)
        if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
            return f"there is no port {self.name}: is the board plugged in?"
        if number in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
            return f"port {self.name} is in use by another program"
        if number in (errno.EACCES, errno.EPERM):
            return f"port {self.name} may not be opened by this user: join its group (dialout)"
        if isinstance(error, ValueError):
            return f"port {self.name} cannot do {self.baud} baud"
        return f"port {self.name} cannot be opened: {error}"

    def write(self, data):
        """Send bytes; DeviceError if the port is gone or takes none."""
        try:
            self._port.write(data)
        except serial.SerialTimeoutException as error:
            raise DeviceError(
                f"port {self.name} takes no bytes: is whatever is behind it stopped?"
            ) from error
        except (serial.SerialException, OSError) as error:
            raise DeviceError(self._gone()) from error

    def read(self, timeout):
        """Return what has come, or comes first within so many seconds; nothing if nothing does.

        DeviceError if the port is gone.
        """
        try:
            for _ in range(max(1, round(timeout / _SLICE_SECONDS))):
                data = self._port.read(max(1, self._port.in_waiting))
                if data:
                    return data
        except (serial.SerialException, OSError, TypeError) as error:
            raise DeviceError(self._gone()) from error
        return b""

    def _gone(self):
        return f"port {self.name} is gone: was the cable pulled, or the board switched off?"

    def close(self):
        """Let others have the port."""
        self._port.close()
