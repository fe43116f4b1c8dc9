"""Records on their way to where they are stored: many together, bounded meanwhile."""
