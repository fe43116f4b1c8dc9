"""The ``tonnage`` command: arguments become settings, settings are handed on. No logic."""
