"""The door to identity providers: what they publish about themselves, and signing in by OpenID Connect."""
