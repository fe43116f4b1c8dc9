"""Photos of somebody, drawn, and a model that knows who is in front: whatever is dark."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper
from PIL import Image, ImageDraw
from tests.support.server import Response
from tests.support.waiting import await_true

SKIN, SHIRT = "#6b3f2a", "#1d2b4f"
_SIDE = 64


def portrait(width: int = 600, height: int = 800, format: str = "JPEG") -> bytes:
    """Return a photo: a head and shoulders, before something light."""
    picture = Image.new("RGB", (width, height), "#dfe9f2")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((0.18 * width, 0.62 * height, 0.82 * width, 1.4 * height), fill=SHIRT)
    pen.rectangle((0.44 * width, 0.5 * height, 0.56 * width, 0.7 * height), fill=SKIN)
    pen.ellipse((0.36 * width, 0.25 * height, 0.64 * width, 0.56 * height), fill=SKIN)
    written = io.BytesIO()
    picture.save(written, format)
    return written.getvalue()


def padded(photo: bytes, size_bytes: int) -> bytes:
    """Return *photo* with so much behind its end that it is as long as that."""
    return photo + bytes(size_bytes - len(photo))


def write_model(path: Path) -> Path:
    """Write a model of 1 KB as an ONNX file, and return its path."""
    shape = [1, 3, _SIDE, _SIDE]
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [1, 3, 1, 1], [-4.0] * 3)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["picture", "weights"], ["darkness"]),
            helper.make_node("Sigmoid", ["darkness"], ["mask"]),
        ],
        "dark",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, _SIDE, _SIDE])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.save(model, str(path))
    return path


def finished(ask: Callable[[str, str], Response], sent: Response) -> dict[str, Any]:
    """Wait until the job of a photo that was sent is over; return what is then said of it."""
    assert sent.status == 202, sent

    def told() -> dict[str, Any] | None:
        job: dict[str, Any] = ask("GET", f"/me/photo/jobs/{sent.json()['id']}").json()
        return None if job["status"] in ("waiting", "running") else job

    return await_true(told, "the job is over", 20)
