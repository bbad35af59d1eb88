"""Pages of the KV cache: one that is written has one user, and a slot reads only its own."""

from hw.page_owners import PageOwners
from hw.page_table import PageTable
from scripts.verify.formal_bench import Bench
from scripts.verify.formal_property import Bug, Property
from tests.formal.small import config

_CONFIG = config()
_MOST = _CONFIG.max_seqs * _CONFIG.max_pages
_OWNERS, _TABLE = "hw/page_owners.py", "hw/page_table.py"


def owners():
    """Of one page, any one; claims of the others come between, right or wrong."""
    b = Bench()
    m = b.m
    dut = b.drive(PageOwners(_CONFIG))
    page = b.constant(dut.page.shape(), "watched")
    writers, readers = b.register(4, "writers"), b.register(4, "readers")
    begins = ~dut.busy & (dut.claim | dut.release) & ~dut.clear
    releasing = b.register(1, "releasing")
    with m.If(~dut.busy):
        m.d.sync += releasing.eq(dut.release)
    here = dut.page == page

    # What the docstring asks of the unit's user.
    strobe = dut.claim | dut.release | dut.clear
    b.assume(~dut.busy | ~strobe, "strobes_only_while_not_busy")
    b.assume(~(dut.claim & dut.release), "one_strobe")
    held = (dut.page == b.past(dut.page, "page")) & (dut.shared == b.past(dut.shared, "shared"))
    b.assume(~dut.busy | held, "fields_hold_while_busy")
    b.assume(
        ~(dut.release & here) | ((dut.shared & (readers != 0)) | (~dut.shared & (writers != 0))),
        "released_only_what_was_claimed",
    )
    b.assume(~(dut.claim & here) | (readers < _MOST), "nobody_claims_more_often")

    # A claim's answer is in the last cycle of busy: the third.
    third = b.past(begins, "begins", PageOwners.CYCLES - 1)
    free = (writers == 0) & ((readers == 0) | dut.shared)
    b.always(~(third & ~releasing & here) | (dut.refused == ~free), "refuses_what_breaks_the_rule")
    b.always(~dut.refused | (third & ~releasing), "refuses_claims_only")
    b.always((writers == 0) | ((writers == 1) & (readers == 0)), "one_writer_or_readers_only")
    with m.If(third & here & ~releasing & ~dut.refused):
        m.d.sync += [writers.eq(writers + ~dut.shared), readers.eq(readers + dut.shared)]
    with m.Elif(third & here & releasing):
        m.d.sync += [writers.eq(writers - ~dut.shared), readers.eq(readers - dut.shared)]
    with m.If(dut.clear & ~dut.busy):
        m.d.sync += [writers.eq(0), readers.eq(0)]
    b.cover(third & here & dut.refused & dut.shared, "a_reader_is_refused")
    b.cover(third & here & dut.refused & ~dut.shared & (readers == 2), "a_writer_is_refused")
    b.cover(third & here & ~dut.refused & (readers == 1) & dut.shared, "a_page_is_shared")
    return b


def table():
    """Any one place, of any one slot, holds what was last written there."""
    b = Bench()
    dut = b.drive(PageTable(_CONFIG))
    slot, index = b.constant(dut.write_slot.shape(), "slot"), b.constant(1, "index")
    holds = b.register(32, "holds")
    with b.m.If(dut.write_en & (dut.write_slot == slot) & (dut.write_index == index)):
        b.m.d.sync += holds.eq(dut.write)
    ports = {
        "read": (dut.read_slot[0], dut.read_index[0], dut.read[0]),
        "append": (dut.append_slot, dut.append_index, dut.append),
    }
    before = b.past(holds, "holds")
    for name, (of_slot, of_index, result) in ports.items():
        asked = b.past((of_slot == slot) & (of_index == index), f"{name}_asked")
        b.always(~asked | (result == before), f"{name}_is_what_was_written")
        b.cover(asked & (result != 0) & (slot == 1), f"{name}_of_the_second_slot")
    other = b.past(dut.write_en & (dut.write_slot != slot), "other_written", 2)
    b.cover(other & b.past(before != 0, "held") & (dut.read[0] == before), "written_beside")
    return b


PROPERTIES = [
    Property(
        name="page_owners.isolation",
        says="a page has one writer, or readers only: every claim that would break this is "
        "refused, every other is not",
        bench=owners,
        depth=16,
        induction=False,
        cover=14,
        bugs=(
            Bug(what="a reader is let in beside the writer", file=_OWNERS,
                old="taken = old.writer |", new="taken = (old.writer & ~self.shared) |"),
            Bug(what="a page is free when one of its readers leaves", file=_OWNERS,
                old="old.readers - self.shared", new="0"),
            Bug(what="a refused claim counts", file=_OWNERS,
                old="write.en.eq(~self.refused)", new="write.en.eq(1)"),
        ),
        quick=True,
    ),
    Property(
        name="page_table.isolation",
        says="a slot's page is what was last written for this slot and number, whatever is "
        "written for others",
        bench=table,
        depth=10,
        induction=False,
        cover=10,
        bugs=(
            Bug(what="the slot is not part of where it is written", file=_TABLE,
                old="write.addr.eq(Cat(self.write_index, self.write_slot))",
                new="write.addr.eq(self.write_index)"),
        ),
        quick=True,
    ),
]  # fmt: skip
