"""Adapters: one folder a chat platform. They carry messages to the gateway's REST API and hold no permissions."""
