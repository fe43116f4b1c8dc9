"""An application with everything that a check is for; its settings are in badapp.toml."""

from __future__ import annotations

import socket
import threading

from fastapi import FastAPI, Request, Response, UploadFile
from fastapi.middleware.cors import CORSMiddleware

app = FastAPI(debug=True)
app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_credentials=True)

threading.Thread(target=threading.Event().wait, daemon=True, name="poller").start()
opened = socket.socket()


@app.get("/")
async def page(response: Response) -> list[str]:
    """Answer with some KB, and say who made them."""
    response.headers["x-powered-by"] = "luck"
    return ["a line that repeats itself"] * 200


@app.post("/")
async def write() -> None:
    """Take a body of any size."""


@app.post("/photos")
async def take(photo: UploadFile) -> int | None:
    """Take a file of any size."""
    return photo.size


@app.post("/cache/clear")
async def clear() -> bool:
    """Do for everyone what is for operators."""
    return True


@app.exception_handler(404)
async def fail(request: Request, error: Exception) -> Response:
    """Fail where a page is not there, so that debug mode shows the code."""
    raise RuntimeError("there is no such page") from error
