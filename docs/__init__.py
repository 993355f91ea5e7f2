"""The documents; what of them is generated is made by `python -m docs.generate`."""
