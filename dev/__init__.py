"""Laptop and test composition: starts the whole house on one machine. Nothing in the house imports it."""
