"""Opsgate: one door between chat and production. The public package."""

__version__ = "0.1.0"
