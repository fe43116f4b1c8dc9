"""The demonstration app behind all limits, asked whatever its OpenAPI allows, and what it does not.

Requests are made up by schemathesis from the app's own description. An answer may be a refusal,
and then it is one that programs can read; it may not be a failure.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.schemas import BaseSchema
from tests.support.server import ROOT, Running

pytestmark = pytest.mark.real

EXAMPLES = 150
OPTIONS = (
    "--memory", "256M", "--workers", "1", "--max-body", "64K", "--max-upload", "128K",
    "--max-response", "1M", "--timeout", "5s", "--rate-limit", "1000000/1h", "--compress",
    "--decompress", "--cors-origins", "https://shop.example", "--remove-headers", "server",
)  # fmt: skip
# What takes time or memory is asked for in small measure, or this would take an hour.
MOST = {"mb": 4, "ms": 10, "kb": 64, "seconds": 0.02, "every": 0.01, "events": 5}
# Of an app that answers, or a path that refuses, and of nothing that breaks.
REFUSALS = (413, 415, 429, 431, 503)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """Yield the app with all limits on."""
    folder = ROOT / "examples" / "hello"
    with Running("app:app", "--app-dir", str(folder), *OPTIONS, cwd=Path("/")) as running:
        yield running


@pytest.fixture(scope="module")
def schema(server: Running) -> BaseSchema:
    """Return the app's description of itself, as the server serves it."""
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize(
    ("mode", "usual"), [(GenerationMode.POSITIVE, 200), (GenerationMode.NEGATIVE, 422)]
)
def test_whatever_is_asked_nothing_fails(
    server: Running, schema: BaseSchema, mode: GenerationMode, usual: int
) -> None:
    """No 500, and each refusal is a problem as of RFC 9457."""
    statuses = Counter[int]()

    @given(case=schema.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Case[Any]) -> None:
        asked = {name: _small(name, value) for name, value in (case.query or {}).items()}
        # Nor are the app's defaults short.
        case.query = MOST | asked
        answer = case.call()
        statuses[answer.status_code] += 1
        assert answer.status_code < 500 or answer.status_code in REFUSALS, answer.content
        if answer.status_code in REFUSALS:
            problem = json.loads(answer.content)
            assert problem["status"] == answer.status_code
            assert {"error", "detail"} <= problem.keys()

    ask()

    # The app was reached, and has seen what fits its description, or what does not.
    assert statuses[usual] > EXAMPLES / 10, statuses
    assert server.get("/health").json()["status"] == "OK"
    assert "Traceback" not in server.log


def _small(name: str, value: Any) -> Any:
    """Return *value*, but no large number."""
    try:
        return min(MOST[name], float(value)) if float(value) > MOST[name] else value
    except (KeyError, TypeError, ValueError):
        return value
