"""Constrained-random runs of whole chips."""
