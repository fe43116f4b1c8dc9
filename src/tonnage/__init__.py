"""Tonnage keeps a Python web backend inside its memory limit.

This package's face is the ``tonnage`` command (see :mod:`tonnage.cli`); importing the package
itself costs nothing and starts nothing.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
