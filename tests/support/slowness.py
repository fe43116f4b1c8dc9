"""How many times slower than usual this machine is: for deadlines and for rates, not for sizes.

An emulated processor (``tests.vm``) says so in ``TONNAGE_TEST_SLOWNESS``. A deadline is multiplied
by it (``waiting`` and ``server`` do), a number of answers that is expected in a given time divided.
"""

from __future__ import annotations

import os

SLOWNESS = float(os.environ.get("TONNAGE_TEST_SLOWNESS", "1"))
