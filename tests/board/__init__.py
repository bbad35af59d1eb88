"""Tests of what a board has around the chip."""
