"""The limits on the way of a request, as the start banner tells them: one line for each in force.

Pure; says nothing of memory, which has lines of its own (:mod:`tonnage.ops.banner`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tonnage.config import ListenSettings, PathSettings


def limit_lines(listen: ListenSettings, path: PathSettings) -> Iterator[tuple[str, str]]:
    """Yield label and text of each limit that is in force."""
    yield from _connections(listen)
    yield from _bodies(path)
    if path.timeout_seconds is not None:
        yield "time", f"{path.timeout_seconds:g} s until a response begins, then 504"
    if path.rate_limit is not None:
        yield "rates", f"{path.rate_limit} for each client, then 429"
    if path.compress:
        yield "compress", f"responses, gzip at level {path.compress_level}; not from CRITICAL on"
    if path.decompress:
        yield "decompress", "bodies of requests"
    if path.cors_origins:
        credentials = ", with cookies" if path.cors_credentials else ""
        yield "CORS", ", ".join(path.cors_origins) + credentials
    if path.remove_headers:
        yield "removed", f"from responses: {', '.join(path.remove_headers)}"
    for name, limits in path.routes.items():
        yield "route", f"{name}: {_differences(limits)}"


def _connections(listen: ListenSettings) -> Iterator[tuple[str, str]]:
    within = f", within {listen.header_seconds:g} s" if listen.header_seconds else ""
    size = format_bytes(listen.max_header_bytes)
    yield "heads", f"{size} and {listen.max_headers} headers{within}"
    if listen.max_connections is not None:
        yield "connections", f"{listen.max_connections} a worker, then idle ones are closed"
    if listen.body_seconds:
        rate = f"{listen.min_body_bytes_per_second} B/s for {listen.body_seconds:g} s"
        yield "slow", f"bodies that come slower than {rate} are cut"


def _bodies(path: PathSettings) -> Iterator[tuple[str, str]]:
    body, upload, response = path.max_body_bytes, path.max_upload_bytes, path.max_response_bytes
    sizes = [format_bytes(body)] if body is not None else []
    if upload is not None:
        sizes.append(f"uploads {format_bytes(upload)}")
    if sizes:
        yield "bodies", f"{', '.join(sizes)}: larger ones get 413"
    if response is not None:
        yield "responses", f"{format_bytes(response)}: larger ones become an error, or are cut"


def _differences(limits: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {_shown(value)}" for name, value in limits.items()) or "as all others"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
