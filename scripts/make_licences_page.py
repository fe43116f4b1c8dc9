"""Write docs/reference/licences.md: what each extra brings, and under which licence.

python scripts/make_licences_page.py            write the page
python scripts/make_licences_page.py --check    exit status 1 when the page is stale

Out of the metadata of what is installed, which is what requirements/run.txt pins. A licence that
nobody has looked at yet ends it with its name: see `PERMISSIVE` and `OTHERS`.
"""

from __future__ import annotations

import re
import sys
import textwrap
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageMetadata, metadata, requires
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "licences.md"

#: Licences that ask for no more than that their text and the authors' names are kept.
PERMISSIVE = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0"),
    *("MIT-CMU", "OLDAP-2.8", "PSF-2.0", "Zlib"),
}
#: Licences that ask for more, and what. All let a program under Apache-2.0 use what they cover.
OTHERS = {
    "LGPL-3.0-only": "who hands the library on hands its source on too, and lets others put"
    " another version in its place",
    "MPL-2.0": "who changes its files and hands them on hands their source on too",
}
#: Older metadata say it in words of their own.
_SPELLINGS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
#: What metadata do not say clearly enough, looked up in the packages' own files.
_LOOKED_UP = {
    "itsdangerous": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause",
    "python-dateutil": "Apache-2.0 OR BSD-3-Clause",
    "uvloop": "Apache-2.0 OR MIT",
}
# As the locks: on the oldest Python that is supported, so that each later one finds the same.
_ENVIRONMENT = {
    **{name: str(value) for name, value in default_environment().items()},
    "python_version": "3.11",
    "python_full_version": "3.11.0",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "platform_machine": "x86_64",
    "platform_system": "Linux",
    "sys_platform": "linux",
}

INTRODUCTION = """\
# Licences

<!-- Generated from the packages' metadata by `make docs`: edit scripts/make_licences_page.py. -->

Tonnage is under the Apache License 2.0. What it needs is installed beside it and is no part of it.
All licences below let programs under any licence use what they cover, and most are permissive: they
ask only that their text and the authors' names are kept. Not permissive are:

"""

BUNDLED = """
Some wheels carry libraries of other projects: psycopg-binary OpenSSL and libpq, NumPy OpenBLAS.
Their licences are in the wheel's `dist-info` directory.

## Always

| package | licence |
|---|---|
"""

WITH_EXTRAS = """
## With extras

| package | licence | extras |
|---|---|---|
"""


def extras() -> dict[str, list[str]]:
    """Return what the core ("") and each extra ask for, as pyproject.toml has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"": project["dependencies"], **project["optional-dependencies"]}


def brought_by(extra: str, environment: dict[str, str] | None = None) -> set[str]:
    """Return the names of the packages that Tonnage needs with *extra*, beside those of the core.

    Raises:
        PackageNotFoundError: one of them is not installed.
    """
    own = extras()
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()

    def follow(texts: Iterable[str], with_extra: str) -> None:
        for text in texts:
            needed = Requirement(text)
            around = {**(environment or _ENVIRONMENT), "extra": with_extra}
            if needed.marker is not None and not needed.marker.evaluate(around):
                continue
            name = canonicalize_name(needed.name)
            for each in ("", *sorted(needed.extras)):
                if (name, each) in seen:
                    continue
                seen.add((name, each))
                if name == "tonnage":
                    follow(own[each] if each else (), each)
                else:
                    found.add(name)
                    follow(requires(name) or (), each)

    follow(own[extra], extra)
    return found


def licence(package: PackageMetadata) -> str:
    """Return the licence that *package* states, as an SPDX expression."""

    def field(name: str) -> list[str]:
        return package.get_all(name) or []

    prefix = "License :: "
    classified = [each for each in field("Classifier") if each.startswith(prefix)]
    said = [
        *(_LOOKED_UP.get(canonicalize_name(each), "") for each in field("Name")),
        *field("License-Expression"),
        " AND ".join(each.rpartition(" :: ")[2] for each in classified),
        # Some put the whole text there.
        *(each.partition("\n")[0] for each in field("License")),
    ]
    first = next(filter(None, said), "")
    return _SPELLINGS.get(first, first)


def parts(expression: str) -> list[str]:
    """Return the licences of an SPDX expression."""
    return [part for part in re.split(r" AND | OR |[()]", expression) if part]


def page() -> str:
    """Return the page.

    Raises:
        SystemExit: a licence is in none of the two lists above.
    """
    own = extras()
    core = brought_by("")
    by_extra = {extra: brought_by(extra) - core for extra in own if extra not in ("", "all")}
    wanted_by = {
        name: [extra for extra, names in by_extra.items() if name in names]
        for name in set().union(*by_extra.values())
    }
    rows = {name: licence(metadata(name)) for name in (*core, *wanted_by)}
    unknown = {
        f"{name}: {expression!r}"
        for name, expression in rows.items()
        if not parts(expression) or not set(parts(expression)) <= PERMISSIVE | OTHERS.keys()
    }
    if unknown:
        raise SystemExit(f"licences that nobody has looked at: {', '.join(sorted(unknown))}")
    return "".join(
        [
            INTRODUCTION,
            *(_not_permissive(each, rows, wanted_by) for each in OTHERS),
            BUNDLED,
            *(f"| {name} | {rows[name]} |\n" for name in sorted(core)),
            WITH_EXTRAS,
            *(
                f"| {name} | {rows[name]} | {', '.join(wanted_by[name])} |\n"
                for name in sorted(wanted_by)
            ),
        ]
    )


def _not_permissive(
    wanted: str, rows: Mapping[str, str], wanted_by: Mapping[str, list[str]]
) -> str:
    names = [name for name in sorted(rows) if wanted in parts(rows[name])]
    extras_with = sorted({extra for name in names for extra in wanted_by[name]})
    line = f"- {wanted}, of {', '.join(names)} (with {', '.join(extras_with)}): {OTHERS[wanted]}"
    return textwrap.fill(line, 100, subsequent_indent="  ", break_on_hyphens=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` compare it; return the exit status."""
    if arguments == ["--check"]:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page():
            return 0
        print(f"{PAGE.name} does not match what is installed: run make docs", file=sys.stderr)
        return 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
