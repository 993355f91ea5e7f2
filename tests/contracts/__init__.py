"""Every shape that crosses a process, held still: a golden JSON file and a schema snapshot each."""
