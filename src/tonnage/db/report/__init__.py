"""``tonnage db report``: what a database could do without, and what it lacks."""
