"""One story a file, one function a story. Flows speak to the outside only through the ports of the domain."""
