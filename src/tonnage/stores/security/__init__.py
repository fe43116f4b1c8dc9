"""Who tries to get in: failed attempts and suspicious activity, counted, kept and acted upon."""
