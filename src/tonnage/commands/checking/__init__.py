"""``tonnage check``: what was found before or after deploying, and what to do about it."""
