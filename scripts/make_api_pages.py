"""Write docs/reference/api*.md and errors.md from the source, or check that they are up to date.

python scripts/make_api_pages.py            write the pages
python scripts/make_api_pages.py --check    exit status 1 when one is stale

Signatures and docstrings are read by griffe; nothing is imported or run.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"

GENERATED = "<!-- Generated from src/tonnage/{source} by `make docs`: edit that, not this page. -->"
#: The page of each module, and what it says above the names.
MODULES = {
    "tonnage": (
        "api.md",
        """\
What an application may import. Importing the package costs nothing: each name is loaded when it
is used. [`tonnage.db`](api-db.md), [`tonnage.images`](api-images.md) and
[`tonnage.sinks`](api-sinks.md) have pages of their own, and so have the [errors](errors.md).""",
    ),
    "tonnage.db": (
        "api-db.md",
        """\
Databases with bounds. How to use them: [ask a database](../how-to/databases.md),
[queries](../how-to/queries.md), [pages](../how-to/pages.md), [MongoDB](../how-to/mongodb.md),
[migrations](../how-to/migrations.md).""",
    ),
    "tonnage.images": (
        "api-images.md",
        """\
Pictures within bounds. How to use them:
[take pictures that people send](../how-to/images.md).""",
    ),
    "tonnage.sinks": (
        "api-sinks.md",
        """\
Where the records of a `BatchWriter` may go. How to choose: [sinks](../how-to/sinks.md).""",
    ),
}
ERRORS = """\
A message is one line that says what is wrong and what to do about it. Those that are a
`RequestRefusedError` too may be let out of a request: it is then answered with the status that the
error stands for, and a
[body that says why](../explanation/path-of-a-request.md#what-a-refusal-looks-like). All are in
`tonnage.errors`, and each is a `TonnageError`."""

_ROLE = re.compile(r":\w+:`~?([^`]+)`")
_CODE = re.compile(r"``([^`]+)``")
_LONGEST_LINE = 88


def pages() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each page."""
    package = griffe.load(
        "tonnage", search_paths=[ROOT / "src"], docstring_parser=griffe.Parser.google
    )
    for dotted, (name, introduction) in MODULES.items():
        module = package if dotted == "tonnage" else package[dotted.removeprefix("tonnage.")]
        assert isinstance(module.filepath, Path)
        source = module.filepath.relative_to(ROOT / "src" / "tonnage")
        parts = [f"# {dotted}", GENERATED.format(source=source), introduction]
        for public in sorted(map(str, module.exports or ()), key=str.lower):
            if public != "__version__":
                parts += _entry(public, module[public])
        yield name, "\n\n".join(parts) + "\n"
    yield "errors.md", _errors(package["errors"])


# Errors.


def _errors(module: griffe.Module) -> str:
    classes = [each for each in module.members.values() if isinstance(each, griffe.Class)]
    parts = ["# Errors", GENERATED.format(source="errors.py"), ERRORS]
    for each in classes:
        if str(each.bases[0]) == "TonnageError":
            parts += [f"## {each.name}", *_text(each), "\n".join(_below(each, classes, 0))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _below(base: griffe.Class, classes: list[griffe.Class], depth: int) -> Iterator[str]:
    for each in classes:
        if str(each.bases[0]) == base.name:
            also = "".join(f", also a `{other}`" for other in each.bases[1:])
            yield f"{'  ' * depth}- `{each.name}`{also}: {_line(' '.join(_text(each)))}"
            yield from _below(each, classes, depth + 1)


# Names, with their signature, what they promise, and their methods.


def _entry(public: str, found: griffe.Object | griffe.Alias) -> Iterator[str]:
    target = found.final_target if isinstance(found, griffe.Alias) else found
    yield f"## {public}"
    called = isinstance(target, griffe.Attribute)
    if isinstance(target, griffe.Attribute):
        target = _behind(target)
    if called and isinstance(target, griffe.Class):
        yield from _text(target.module)
        yield from _text(target)
        yield _signatures(public, target["__call__"])
        yield from _text(target["__call__"])
    elif isinstance(target, griffe.Function):
        yield _signatures(public, target)
        yield from _text(target)
    else:
        assert isinstance(target, griffe.Class)
        if "__init__" in target.all_members:
            yield _signatures(public, target.all_members["__init__"])
        yield from _text(target)
    if isinstance(target, griffe.Class):
        for name, member in _members(target):
            yield f"### {public}.{name}"
            yield _signatures(name, member)
            yield from _text(member)


def _behind(attribute: griffe.Attribute) -> griffe.Object:
    """Return the class of an object that a module has once, or the method of one."""
    names = str(attribute.value).removesuffix("()").split(".")
    found: griffe.Object = attribute.module
    for name in names:
        found = found[name]
        if isinstance(found, griffe.Attribute):
            found = _behind(found)
    return found


def _members(of: griffe.Class) -> Iterator[tuple[str, griffe.Object]]:
    """Yield what is public and says what it promises: its own first, then what it inherits."""
    for name, member in of.all_members.items():
        target = member.final_target if isinstance(member, griffe.Alias) else member
        if not name.startswith("_") and target.docstring:
            yield name, target


def _signatures(name: str, of: griffe.Object | griffe.Alias) -> str:
    each = (of.overloads or [of]) if isinstance(of, griffe.Function) else [of]
    return "```python\n" + "\n".join(_signature(name, one) for one in each) + "\n```"


def _signature(name: str, of: griffe.Object | griffe.Alias) -> str:
    if isinstance(of, griffe.Alias):
        of = of.final_target
    if isinstance(of, griffe.Attribute):
        return f"{name}: {of.annotation}"
    assert isinstance(of, griffe.Function)
    if "property" in of.labels:
        return f"{name}: {of.returns}"
    arguments = list(_arguments(of.parameters))
    before = "async " if "async" in of.labels else ""
    after = f" -> {of.returns}" if of.returns and of.name != "__init__" else ""
    decorators = "".join(
        f"@{each.value}\n" for each in of.decorators if "contextmanager" in str(each.value)
    )
    line = f"{before}{name}({', '.join(arguments)}){after}"
    if len(line) > _LONGEST_LINE:
        line = f"{before}{name}(\n" + "".join(f"    {each},\n" for each in arguments) + f"){after}"
    return decorators + line


def _arguments(parameters: Iterable[griffe.Parameter]) -> Iterator[str]:
    kinds = griffe.ParameterKind
    last = None
    for each in parameters:
        if each.name == "self" or each.name == "cls":
            continue
        if last is kinds.positional_only and each.kind is not last:
            yield "/"
        if each.kind is kinds.keyword_only and last not in (
            kinds.keyword_only,
            kinds.var_positional,
        ):
            yield "*"
        stars = "*" * (each.kind is kinds.var_positional) + "**" * (each.kind is kinds.var_keyword)
        note = f": {each.annotation}" if each.annotation else ""
        default = ""
        if each.default is not None and not stars:
            default = (" = " if note else "=") + _default(each)
        yield f"{stars}{each.name}{note}{default}".replace("'", '"')
        last = each.kind
    if last is kinds.positional_only:
        yield "/"


def _default(parameter: griffe.Parameter) -> str:
    """Return what is passed if nothing is: of a constant its value, where that says more."""
    default = parameter.default
    if isinstance(default, griffe.ExprName) and default.name.isupper() and parameter.function:
        constant = parameter.function.modules_collection[default.canonical_path]
        value = str(constant.value)
        if re.search(r"\d|'", value) and len(value) < _LONGEST_LINE // 2:
            return value
    return str(default)


# Docstrings.


def _text(of: griffe.Object) -> Iterator[str]:
    for section in of.docstring.parsed if of.docstring else []:
        match section:
            case griffe.DocstringSectionText():
                yield _markdown(section.value)
            case griffe.DocstringSectionReturns() | griffe.DocstringSectionYields():
                told = " ".join(_line(each.description) for each in section.value)
                yield f"{section.kind.value.capitalize()}: {told}"
            case griffe.DocstringSectionAdmonition():
                yield f"{section.title}: {_markdown(section.value.description)}"
            case griffe.DocstringSectionRaises():
                items = (
                    f"- `{each.annotation}`: {_line(each.description)}" for each in section.value
                )
                yield "Raises:\n\n" + "\n".join(items)
            case griffe.DocstringSectionParameters() | griffe.DocstringSectionAttributes():
                items = (f"- `{each.name}`: {_line(each.description)}" for each in section.value)
                yield "\n".join(items)
            case _:
                raise SystemExit(f"{of.path}: a section {section.kind.value} is not known here")


def _line(text: str) -> str:
    return " ".join(_markdown(text).split())


def _markdown(text: str) -> str:
    return _CODE.sub(r"`\1`", _ROLE.sub(r"`\1`", text)).replace("::\n", ":\n").strip()


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` compare them; return the exit status."""
    stale = [
        name
        for name, text in pages()
        if not (file := REFERENCE / name).is_file() or file.read_text(encoding="utf-8") != text
    ]
    if arguments == ["--check"]:
        if stale:
            print(f"{', '.join(stale)}: not what the source says; run make docs", file=sys.stderr)
        return 1 if stale else 0
    for name, text in pages():
        (REFERENCE / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
