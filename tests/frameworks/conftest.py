"""The database of the Django site."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.server import ROOT, clean_environment

SETTINGS = "tests.frameworks.django_site.settings"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the variables of a Django site whose tables have been made."""
    database: Path = tmp_path_factory.mktemp("site") / "site.sqlite3"
    variables = {"SITE_DATABASE": str(database)}
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--settings", SETTINGS],
        cwd=ROOT,
        env=clean_environment() | variables,
        check=True,
        capture_output=True,
    )
    return variables
