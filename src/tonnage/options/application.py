"""What to run, and how to load it."""

from __future__ import annotations

from tonnage.options.kinds import DIRECTORY, FILE, SWITCH, TARGET, choice
from tonnage.options.option import Option

OPTIONS: tuple[Option, ...] = (
    Option(
        "target",
        "app",
        TARGET,
        None,
        "the application: MODULE:ATTR, for example main:app, or MODULE:make_app()",
        is_target=True,
    ),
    Option("factory", "app", SWITCH, "false", "ATTR is called to get the application"),
    Option(
        "interface",
        "app",
        choice("auto", "asgi", "wsgi"),
        "auto",
        "what the application speaks; auto looks at it",
    ),
    Option("app_dir", "app", DIRECTORY, ".", "directory to import the application from"),
    Option(
        "env_file",
        "app",
        FILE,
        None,
        "file with variables, for Tonnage and for the application; the environment wins over it",
    ),
    Option(
        "config",
        "app",
        FILE,
        None,
        "TOML file whose [tool.tonnage] table is read",
        default_note="pyproject.toml of the current directory, where there is one",
        in_file=False,
    ),
    Option("reload", "app", SWITCH, "false", "start anew when a source file changes"),
    Option(
        "preload",
        "app",
        SWITCH,
        "true",
        "import the application once and fork workers from there, so that they share its memory",
    ),
)
