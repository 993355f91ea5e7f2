"""The door to the database: the only place with SQL. SQLite in the embedded profile, PostgreSQL in production."""
