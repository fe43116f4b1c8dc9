"""What an option is, and the places it can be set in."""

from __future__ import annotations

from dataclasses import dataclass

from tonnage.options.kinds import SWITCH, Kind


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: its name, kind and default, and the places it can be set in.

    ``default`` is what a user would write, so that documentation and behaviour agree; None means
    unset, and ``default_note`` then says what happens. A secret is no flag, since every user of a
    machine can read the arguments of a process, and no message repeats it. Where ``each`` is set,
    there may be several: it is what the flag is called, which is given once for each of them.
    """

    name: str
    group: str
    kind: Kind
    default: str | None
    help: str
    conventional: tuple[str, ...] = ()
    field: str = ""
    default_note: str = ""
    in_file: bool = True
    is_target: bool = False
    is_secret: bool = False
    each: str = ""

    @property
    def flag(self) -> str:
        """The option on the command line: ``--free-floor``."""
        return "--" + (self.each or self.name).replace("_", "-")

    @property
    def env(self) -> tuple[str, ...]:
        """The variables that set it, the first set one winning: ``TONNAGE_*``, then others."""
        return (f"TONNAGE_{self.name.upper()}", *self.conventional)

    @property
    def field_name(self) -> str:
        """The attribute of the settings record; it differs where a unit belongs into the name."""
        return self.field or self.name

    @property
    def is_switch(self) -> bool:
        """Whether it is true or false, so that the flag takes no value."""
        return self.kind is SWITCH
