"""Each extra by itself: what it brings is enough for what it promises.

Nothing is installed for that: all but what the extra brings is hidden, by the metadata of what is
here. ``test_clean`` does the same with real installations, which take minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions

from packaging.markers import default_environment
from packaging.utils import canonicalize_name
from scripts.make_licences_page import brought_by, extras
from tests.package.promised import PROMISED
from tests.support.missing import give_up
from tests.support.server import clean_environment

# Forked for each, before anything is imported that need not be.
_EACH_ALONE = """
import json, os, sys, tempfile, traceback
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

hidden = set()

class Visible(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else super().find_spec(name, path, target)

sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Visible]
failed = []
for extra, (code, hide) in json.load(sys.stdin).items():
    sys.stdout.flush()
    if not (child := os.fork()):
        status = 1
        with tempfile.TemporaryDirectory() as directory:
            os.chdir(directory)
            hidden.update(hide)
            try:
                exec(compile(code, extra, "exec"), {"__name__": "promised"})
                status = 0
            except BaseException:
                print(f"tonnage[{extra}]", traceback.format_exc())
        sys.stdout.flush()
        os._exit(status)
    failed += [extra] if os.waitpid(child, 0)[1] else []
sys.exit(f"not enough for what they promise: {failed}" if failed else 0)
"""


def test_every_extra_promises_something() -> None:
    """And nothing is promised of one that there is not."""
    assert PROMISED.keys() == extras().keys()


def test_what_an_extra_brings_is_enough() -> None:
    """A dependency that is not stated would be found only where nothing else brings it."""
    owners = {
        name: {canonicalize_name(owner) for owner in each}
        for name, each in packages_distributions().items()
    }
    environment = {name: str(value) for name, value in default_environment().items()}
    core = brought_by("", environment) | {"tonnage"}
    told = {}
    for extra, code in PROMISED.items():
        try:
            brought = core | brought_by(extra, environment)
        except PackageNotFoundError as error:
            give_up(str(error), f"tonnage[{extra}] brings it")
        told[extra] = (code, [name for name, by in owners.items() if not by & brought])
    done = subprocess.run(
        [sys.executable, "-c", _EACH_ALONE],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        env=clean_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
