"""The pure core: no framework, no I/O, no clock of its own."""
