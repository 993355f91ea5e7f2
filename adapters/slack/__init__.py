"""Slack to REST and back: carries signed requests to the gateway as evidence, and shows what it answers."""
