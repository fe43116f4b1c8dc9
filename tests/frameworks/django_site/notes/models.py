"""One table."""

from __future__ import annotations

from django.db import models


class Note(models.Model):  # type: ignore[misc] # Django ships no types
    """A line of text."""

    text = models.CharField(max_length=200)

    class Meta:
        """Django asks for a label where the module's path does not give one."""

        app_label = "notes"
