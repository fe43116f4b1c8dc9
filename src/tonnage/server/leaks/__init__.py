"""Leaks: suspected and confirmed from the supervisor, traced to their lines in one worker."""
