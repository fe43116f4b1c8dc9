# placeholder until the real module lands: overwrite it
from typing import Any
import logging
def configure(s: Any) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
