"""Rung 1: the serial line, the bridge's version, the board and its configuration."""

from hw.spec.bridge import REGISTER_BYTES, VERSION, config_digest
from hw.spec.csr import ID_VALUE, REGISTERS
from sim.bringup.rung import RungFailed
from sim.device.error import DeviceError, NoAnswer, PortError, WrongBoard, WrongVersion
from sim.device.serial_transport import SerialTransport

__all__ = ["RATES", "climb"]

#: Baud rates at which a board that does not answer is looked for.
RATES = (115_200, 230_400, 460_800, 500_000, 921_600, 1_000_000, 2_000_000, 3_000_000)
_READS = 512  # of a register, to see whether the line loses bytes
_PROBE_SECONDS = 0.3


def climb(target):
    """Ping, check who answers, and send some thousand bytes each way."""
    settings = target.settings
    try:
        transport = target.transport
    except WrongVersion as error:
        raise RungFailed(
            "wrong version of the bitstream",
            expected=f"a bridge of version {VERSION}",
            got=str(error),
            look="program the board with a bitstream of this repository's version (--program)",
        ) from error
    except WrongBoard as error:
        raise RungFailed(
            "bitstream of another board",
            expected=f"board {settings.board}",
            got=str(error),
            look="--board, or the bitstream",
        ) from error
    except NoAnswer as error:
        raise _silence(target, error) from error
    before = transport.info
    wanted = config_digest(settings.config)
    if before["config_digest"] != wanted:
        raise RungFailed(
            "chip of another configuration",
            expected=f"configuration digest {wanted:08x} ({settings.config})",
            got=f"{before['config_digest']:08x}",
            look="--preset, or the bitstream",
        )
    resent = transport.resent
    request = ("read_register", REGISTERS["id"].offset, REGISTER_BYTES, b"")
    answers = target.exchange([request] * _READS)
    wrong = [answer for answer in answers if int.from_bytes(answer, "little") != ID_VALUE]
    if wrong:
        raise RungFailed(
            "no Serrano chip behind the bridge",
            expected=f"id {ID_VALUE:#010x}",
            got=f"{int.from_bytes(wrong[0], 'little'):#010x}",
            look="the bitstream; whether the chip's clock runs (rung 2)",
        )
    after = transport.ping()
    lost = {
        name: after[name] - before[name]
        for name in ("dropped_frames", "framing_errors")
        if after[name] != before[name]
    }
    if lost or transport.resent != resent:
        again = transport.resent - resent
        counts = "".join(f", {count} {name.replace('_', ' ')}" for name, count in lost.items())
        raise RungFailed(
            "bytes are lost on the line",
            expected=f"{_READS} register reads, each sent once",
            got=f"{again} frames sent again{counts}",
            look="cable and USB hub; the baud rate, if there are framing errors",
        )
    who = (
        f"{settings.board}, version {after['version']}, configuration {wanted:08x}, "
        f"{after['clock_hz'] / 1e6:g} MHz, {after['memory_bytes'] >> 20} MB"
    )
    return [who, f"{_READS} register reads, nothing lost"]


def _silence(target, error):
    """Return why there may be no answer."""
    found = None if target.settings.simulated else _search(target)
    if found is not None:
        return RungFailed(
            f"wrong baud rate: the board answers at {found}",
            expected="an answer at the rate that was asked for",
            got=str(error),
            look=f"--baud {found}",
        )
    return RungFailed(
        "no answer: wrong baud rate, or no board",
        expected="an answer to a ping",
        got=str(error),
        look="lamp 'alive' (dark: power or bitstream); lamp 'link' (dark: baud rate, or rx and tx "
        "are exchanged)",
    )


def _search(target):
    """Return the first of `RATES` at which the board answers, None if there is none."""
    target.close()
    for rate in RATES:
        try:
            channel = target.open_channel(rate)
        except PortError:
            continue  # a rate that this port does not have
        try:
            SerialTransport(channel, timeout=_PROBE_SECONDS, retries=1)
        except (WrongBoard, WrongVersion):
            return rate
        except DeviceError:
            continue
        finally:
            channel.close()
        return rate
    return None
