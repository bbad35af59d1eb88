"""The host's side of the chip: a driver, and the ways on which it reaches one."""
