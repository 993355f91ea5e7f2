"""The gateway: proves who asks, asks the policy, writes it down, wakes a worker. Never calls a cloud or CI API."""
