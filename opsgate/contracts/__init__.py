"""Shapes that cross a process boundary. Frozen, versioned by the API path, no behaviour."""
