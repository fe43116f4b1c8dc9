"""A server for tests: what is posted comes back without its background."""

from __future__ import annotations

from typing import Any

from tonnage import images


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer a photo with its cut-out on white; the path says for how long to keep warm."""
    if scope["type"] != "http":
        return
    photo, is_more = b"", True
    while is_more:
        message = await receive()
        photo += message.get("body", b"")
        is_more = message.get("more_body", False)
    picture = await images.remove_background(photo, background="white", keep_warm=scope["path"][1:])
    headers = [(b"content-type", picture.media_type.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": picture.content})
