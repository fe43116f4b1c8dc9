"""Whether operators elsewhere can prove who they are, in words: for the banner and for checks.

Pure. Who is let in is decided in :mod:`tonnage.ops.trust`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tonnage.settings import ListenSettings

#: A token that is shorter can be guessed.
LEAST_CHARS: Final = 16
TOO_SHORT: Final = f"TONNAGE_ADMIN_TOKEN has fewer than {LEAST_CHARS} characters"
MAKE_ONE: Final = "openssl rand -hex 32"

_HERE: Final = ("127.", "localhost", "::1")


def is_short(token: str | None) -> bool:
    """Return whether there is a *token*, and it can be guessed."""
    return token is not None and len(token) < LEAST_CHARS


def is_for_others(listen: ListenSettings) -> bool:
    """Return whether other machines reach the port without a proxy."""
    return listen.uds is None and listen.fd is None and not listen.host.startswith(_HERE)


def notes_on(token: str | None, listen: ListenSettings) -> tuple[str, ...]:
    """Return what is not open where there is no *token*, for the banner."""
    if token is not None or not is_for_others(listen):
        return ()
    return (
        "page, metrics and memory figures are shown to this machine alone: set"
        " TONNAGE_ADMIN_TOKEN to see them from elsewhere",
    )


def warnings_on(token: str | None) -> tuple[str, ...]:
    """Return what should be changed about *token*, for the banner."""
    if not is_short(token):
        return ()
    return (f"{TOO_SHORT}, so it can be guessed: set a random one, as of {MAKE_ONE}",)
