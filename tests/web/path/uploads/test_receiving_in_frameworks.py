from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import Response
from tests.web.path.uploads.forms import JPEG, png

from tonnage.web.path.uploads import UploadError, Uploads


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    """Photos of up to 1 MB, kept in ``tmp_path``; refusals are answered by the application."""
    found = FastAPI()
    uploads = Uploads(max_bytes="1M", types=["image/png"], directory=tmp_path)

    @found.post("/photos", status_code=201)
    async def add(request: Request) -> dict[str, Any]:
        async with uploads.receive(request) as files:
            return {"name": files["photo"].move_to(tmp_path).name, "title": files.field("title")}

    @found.exception_handler(UploadError)
    async def refuse(request: Request, error: UploadError) -> Response:
        answer = error.problem.answer()
        headers = {name.decode(): value.decode() for name, value in answer.all_headers()}
        return Response(answer.body, answer.status, headers=headers)

    return found


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of *app*."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as found:
        yield found


async def test_fastapi_receives_a_form(client: httpx.AsyncClient) -> None:
    """A form as a well-known client makes it is received by a route of FastAPI."""
    sent = {"photo": ("../me.png", png(100_000), "image/png")}
    answer = await client.post("/photos", files=sent, data={"title": "Sun"})
    assert (answer.status_code, answer.json()) == (201, {"name": "me.png", "title": "Sun"})


@pytest.mark.parametrize(
    ("content", "status", "error"),
    [
        (JPEG, 415, "unsupported_media_type"),
        (png(2**20 + 1), 413, "payload_too_large"),
        (b"", 400, "malformed_upload"),
    ],
)
async def test_fastapi_answers_refusals(
    client: httpx.AsyncClient, content: bytes, status: int, error: str
) -> None:
    """A refusal is answered as problem details that say what is wrong."""
    answer = await client.post("/photos", files={"photo": ("a.png", content, "image/png")})
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_in_chunks(client: httpx.AsyncClient) -> None:
    """A form without a length, in chunks, is counted as it comes."""
    head = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'

    async def chunks() -> AsyncIterator[bytes]:
        yield head
        for _ in range(200):
            yield png(10_000)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = await client.post("/photos", content=chunks(), headers=headers)
    assert answer.status_code == 413
