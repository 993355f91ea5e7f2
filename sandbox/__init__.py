"""The practice fleet: a process of its own that plays an orchestrator over HTTP. It knows nothing of the rest."""
