"""Where writers store records: PostgreSQL, SQL databases, files, streams."""
