"""One door an outside system. Doors do not know their siblings."""
