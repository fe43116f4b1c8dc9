"""An application in which a check finds nothing; its settings are in goodapp.toml."""

from __future__ import annotations

from fastapi import FastAPI, UploadFile
from fastapi.middleware.cors import CORSMiddleware

app = FastAPI()
app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example"], allow_credentials=True)


@app.get("/")
async def page() -> list[str]:
    """Answer with some KB."""
    return ["a line that repeats itself"] * 200


@app.post("/photos")
async def take(photo: UploadFile) -> int | None:
    """Take a file, whose size the settings limit."""
    return photo.size
