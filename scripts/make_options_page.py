"""Write docs/reference/options.md from the option table, or check that it is up to date.

python scripts/make_options_page.py            write the page
python scripts/make_options_page.py --check    exit status 1 when the page is stale
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tonnage.options import GROUPS, OPTIONS, Option

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "options.md"

INTRODUCTION = """\
# Options

<!-- Generated from src/tonnage/options/ by `make docs`: edit the files there, not this page. -->

An option can be set in four places. The first that sets it wins; else the default holds:

1. a flag: `tonnage run main:app --free-floor 24M`
2. the environment: `TONNAGE_FREE_FLOOR=24M`, or a conventional name such as `PORT` where one is
   listed; the `TONNAGE_` name wins over a conventional one, and an empty variable counts as unset
3. an env file, named with `--env-file`: the same variables
4. the `[tool.tonnage]` table of `pyproject.toml`, or of the file named with `--config`:
   `free_floor = "24M"`

A value that makes no sense, and a key that `[tool.tonnage]` does not know, end the command with
one line and exit status 2. `tonnage run` and `tonnage plan` take the same options. Paths are
relative to the current directory.

Sizes are written `512M`, `1.5G` or `640K`; one MB is 2**20 bytes. Durations are written `30s`,
`250ms` or `2m`; a bare number counts seconds. A mark is a share of the limit (`80%`) or a size
(`450M`). A switch is `true` or `false` in variables and files, and `--NAME` or `--no-NAME` as a
flag. Where several words are taken, a file may have a list.

A variable that is called `TONNAGE_` and is no option has no effect, and a warning at the start says
so, with the name that may be meant.

What is different for one route stands in a table of its own in a file, or in a flag for each route;
see [the path of a request](../explanation/path-of-a-request.md#limits-for-one-route):

```toml
[tool.tonnage]
max_upload = "2M"

[tool.tonnage.routes."POST /photos/{album}"]
max_upload = "5M"
```

```sh
tonnage run main:app --max-upload 2M --route 'POST /photos/{album}: max_upload=5M, timeout=none'
```
"""


def page() -> str:
    """Return the reference page."""
    return INTRODUCTION + "".join(
        f"\n## {title}\n" + "".join(_entry(option) for option in OPTIONS if option.group == group)
        for group, title in GROUPS.items()
    )


def _entry(option: Option) -> str:
    meaning = option.help[0].upper() + option.help[1:]
    facts = "".join(f"- {fact}\n" for fact in _facts(option))
    return f"\n### {option.name}\n\n{meaning}.\n\n{facts}"


def _facts(option: Option) -> Iterator[str]:
    if option.is_target:
        yield "Argument: `TARGET`"
    elif option.is_switch:
        yield f"Flag: `{option.flag}`, `--no-{option.flag[2:]}`"
    elif not option.is_secret:
        often = ", as often as needed" if option.each else ""
        yield f"Flag: `{option.flag} {option.kind.metavar}`{often}"
    else:
        yield "Flag: none, since the arguments of a process can be read by others"
    yield "Environment: " + ", ".join(f"`{name}`" for name in option.env)
    if option.in_file:
        yield f"Key: `{option.name}`"
    yield f"Value: {option.kind.expected}"
    if option.default_note or option.default is None:
        yield f"Default: {option.default_note or 'none'}"
    else:
        yield f"Default: `{option.default}`"


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` compare it; return the exit status."""
    if arguments == ["--check"]:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page():
            return 0
        print(f"{PAGE.name} does not match the option table: run make docs", file=sys.stderr)
        return 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
