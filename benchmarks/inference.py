"""The model alone, in a process that does nothing else: how long a run takes, as JSON.

With the same options and threads as a job has, and at the same priority.
"""

from __future__ import annotations

import json
import os
import sys
import time

from tonnage.images.background.models import DEFAULT, model_of
from tonnage.images.background.places import checked
from tonnage.images.background.session import session_of, spare_memory

NICENESS = 5
WARM_RUNS = 2


def main() -> None:
    """Run the model as often as the command line says."""
    os.nice(NICENESS)
    spare_memory()
    import numpy

    model = model_of(DEFAULT)
    session = session_of(model, checked(model))
    given = numpy.random.default_rng(1).random((1, 3, session.side, session.side))
    seconds = []
    for _ in range(WARM_RUNS + int(sys.argv[1])):
        began = time.perf_counter()
        session.run(given.astype(numpy.float32))
        seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds[WARM_RUNS:]))


if __name__ == "__main__":
    main()
