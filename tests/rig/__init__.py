"""Real servers and whole houses for the tests, as processes on free loopback ports. No test double lives here."""
