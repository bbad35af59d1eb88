"""Faults in a simulated chip: what becomes of a run that meets one."""
