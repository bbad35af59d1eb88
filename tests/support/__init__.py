"""Helpers shared by every test."""
