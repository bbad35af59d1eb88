"""What a board has around the chip: pins, clocks, memory, the way to the host."""
