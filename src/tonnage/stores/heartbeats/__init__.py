"""Sessions that are known by their beats, in a table of the application's database."""
