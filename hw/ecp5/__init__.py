"""Cells of Lattice's ECP5 family, each with a portable twin."""
