"""Fibuca: members, their applications, and the photos for their cards."""
