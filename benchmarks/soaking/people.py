"""What people do at the four backends, and what of it they hold an acknowledgement for.

Each function is one visit: some requests of one person, who comes from an address of his or her
own. Where a request is refused or gets no answer, the visit goes on with the next.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from benchmarks.soaking.asking import Person
from benchmarks.soaking.ledger import Ledger

Visit = Callable[[Person, Ledger], Awaitable[None]]

LOOKS = 5
#: So many people seek the same five events: more than have seats, for most of them.
SEEKERS = 40
PORTRAIT_SECONDS = 60.0
"""How long somebody asks for a portrait before giving up."""

_GAMES = ("tetra", "lode", "rally")


async def at_fitflix(person: Person, ledger: Ledger) -> None:
    """Look at events, register for some, and think better of it now and then."""
    page = await person.ask("GET", "/fitflix/events?limit=20")
    if page is not None and (after := page.json()["next"]):
        await person.ask("GET", "/fitflix/events", params={"limit": 20, "after": after})
    await person.ask("GET", "/fitflix/activities")
    for _ in range(LOOKS):
        event = _sought_by(person)
        await person.ask("GET", f"/fitflix/events/{event}")
        await _register(person, ledger, event)


def _sought_by(person: Person) -> int:
    return person.number // SEEKERS + person.chance.randint(1, 5)


async def _register(person: Person, ledger: Ledger, event: int) -> None:
    key = (event, f"{person.number}-{event}@soak.example")
    path = f"/fitflix/events/{event}/registrations"
    ledger.registrations.ask(key)
    seat = {"name": "Asha", "email": key[1]}
    taken = await person.ask("POST", path, (201, 409), json=seat)
    if taken is None or taken.status_code != 201:
        return
    ledger.registrations.acknowledge(key)
    if person.chance.random() < 0.2:
        ledger.registrations.ask_back(key)
        where = f"{path}/{taken.json()['id']}/withdrawal"
        if await person.ask("POST", where, (204,), json={"email": key[1]}) is not None:
            ledger.registrations.acknowledge_back(key)


async def at_lvlup(person: Person, ledger: Ledger) -> None:
    """Play: events, signs of life, purchases; then see the figures of the day."""
    game = f"/lvlup/games/{person.chance.choice(_GAMES)}"
    player = f"player-{person.number}"
    for turn in range(LOOKS):
        done = [{"player": player, "name": "jump", "properties": {"height": turn}}] * 5
        await person.ask("POST", f"{game}/events", (202,), json=done)
        session = f"{game}/sessions/session-{person.number}/beat"
        await person.ask("POST", session, (202,), json={"player": player})
        key = f"soak-{person.number}-{turn}"
        bought = {"purchase": key, "player": player, "product": "hat", "cents": 199,
                  "currency": "EUR"}  # fmt: skip
        ledger.purchases.ask(key)
        if await person.ask("POST", f"{game}/revenue", (202,), json=bought) is not None:
            ledger.purchases.acknowledge(key)
    await person.ask("GET", f"{game}/days/{datetime.now(UTC):%Y-%m-%d}")


async def at_eventide(person: Person, ledger: Ledger) -> None:
    """Log in, look at events, and book some."""
    credentials = {"email": f"{person.number}@soak.example", "password": "correct horse"}
    made = await person.ask("POST", "/eventide/auth/register", (201,), json=credentials)
    if made is None:
        return
    got = await person.ask("POST", "/eventide/auth/login", json=credentials)
    if got is None:
        return
    person.headers["authorization"] = f"Bearer {got.json()['access_token']}"
    await person.ask("GET", "/eventide/events?limit=20")
    for _ in range(LOOKS):
        event = _sought_by(person)
        await person.ask("GET", f"/eventide/events/{event}")
        key = (event, made.json()["id"])
        ledger.bookings.ask(key)
        path = f"/eventide/events/{event}/bookings"
        booked = await person.ask("POST", path, (201, 409))
        if booked is not None and booked.status_code == 201:
            ledger.bookings.acknowledge(key)
    await person.ask("GET", "/eventide/bookings")


async def at_fibuca(person: Person, ledger: Ledger) -> None:
    """Join, apply for a membership, and see what was applied for."""
    if await join(person, ledger) is None:
        return
    for turn in range(LOOKS):
        key = f"soak-{person.number}-{turn}"
        ledger.applications.ask(key)
        form = {"kind": "single", "statement": key}
        if await person.ask("POST", "/fibuca/me/applications", (201,), data=form) is not None:
            ledger.applications.acknowledge(key)
        await person.ask("GET", "/fibuca/me/applications")
        await person.ask("GET", "/fibuca/me")


async def join(person: Person, ledger: Ledger) -> int | None:
    """Become a member of Fibuca; return the number, None where it was not to be."""
    name = f"Soak {person.number}"
    ledger.members.ask(name)
    made = await person.ask("POST", "/fibuca/members", (201,), data={"name": name})
    if made is None:
        return None
    ledger.members.acknowledge(name)
    person.headers["x-member-key"] = made.json()["key"]
    number: int = made.json()["number"]
    return number


async def send_photo(person: Person, ledger: Ledger, photo: bytes) -> None:
    """Join, send a photo, and ask for the card when the portrait is done.

    A photo that was taken has to be there in the end, unless its sender is told that it has failed.
    """
    number = await join(person, ledger)
    if number is None:
        return
    ledger.photos.ask(number)
    kind = {"content-type": "image/jpeg"}
    sent = await person.ask("POST", "/fibuca/me/photo", (202,), content=photo, headers=kind)
    if sent is None:
        return
    ledger.photos.acknowledge(number)
    job = await _finished(person, f"/fibuca/me/photo/jobs/{sent.json()['id']}")
    if job.get("status") == "done":
        await person.ask("GET", "/fibuca/me/card.png")
    elif job.get("status") == "failed":
        ledger.photos.ask_back(number)
        ledger.failures[job["problem"]["error"]] += 1


async def _finished(person: Person, path: str) -> dict[str, Any]:
    """Return what is said of a job when it is over; nothing, where that took too long."""
    until = time.monotonic() + PORTRAIT_SECONDS
    while time.monotonic() < until:
        await asyncio.sleep(1.0)
        said = await person.ask("GET", path, is_owed=True)
        if said is not None and said.json()["status"] not in ("waiting", "running"):
            job: dict[str, Any] = said.json()
            return job
    return {}


VISITS: tuple[Visit, ...] = (at_fitflix, at_lvlup, at_eventide, at_fibuca)
