"""What the core and each extra promise: a few lines of an application that need nothing else.

They are run where only that is installed (``make package``), and where only that can be imported
(``test_extras``). Each ends without an error.
"""

from __future__ import annotations

from typing import Final

_APP: Final = """
async def app(scope, receive, send): ...
"""

#: By extra; "" is the core.
PROMISED: Final = {
    "": f"""{_APP}
import tonnage, tonnage.server.supervisor
import tonnage.server.http, tonnage.server.worker, tonnage.web.wsgi
from tonnage.sinks import JsonlSink
tonnage.Tonnage(app, max_body="1M", rate_limit="100/15m", timeout="30s", compress=True)
tonnage.TonnageWSGI(lambda environ, start_response: [], max_body="1M")
tonnage.Cache("events", max_bytes="1M").set("a", 1)
""",
    "fastapi": """
import fastapi, tonnage, uvloop, websockets
fastapi.FastAPI().add_middleware(tonnage.Tonnage, max_body="1M")
""",
    "flask": """
import flask, tonnage
app = flask.Flask("app")
app.wsgi_app = tonnage.TonnageWSGI(app.wsgi_app, max_body="1M")
""",
    "fast": "import uvloop",
    "websockets": """
from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol
assert AutoWebSocketsProtocol is not None
""",
    "dotenv": """
from pathlib import Path
from tonnage.config import load_settings
Path(".env").write_text("TONNAGE_WORKERS=3")
settings = load_settings({"env_file": ".env"}, {}, Path.cwd())
assert settings.sources["workers"] == "env file .env"
""",
    "compress": """
from tonnage.web.path.encodings import codings
assert {each.name for each in codings(6)} == {b"zstd", b"br", b"gzip"}
""",
    "cors": f"""{_APP}
import tonnage
tonnage.Tonnage(app, cors_origins=["https://shop.example"])
""",
    "uploads": """
import tonnage, tonnage.web.path.uploads.filetypes
from tonnage.web.path.uploads.receiving import _import_parsers
tonnage.Uploads(max_bytes="2M", types=["image/jpeg"])
_import_parsers()
""",
    "redis": """
import tonnage
from tonnage.sinks import RedisStreamSink
tonnage.redis_client("redis://localhost")
RedisStreamSink("events")
""",
    "shared": """
import tonnage
cache = tonnage.Cache("events", max_bytes="1M", shared="1M")
cache.set("a", 1)
assert cache.get("a") == 1
""",
    "writers": """
import tonnage
from tonnage.sinks import JsonlSink
tonnage.BatchWriter("clicks", JsonlSink("clicks.jsonl"))
""",
    "postgres": """
import asyncio, tonnage
from tonnage import db
from tonnage.sinks import PostgresSink
tonnage.BatchWriter("clicks", PostgresSink("postgresql://localhost/shop", "clicks"))
import tonnage.db.pools.tasks
""",
    "sql": """
import sqlalchemy, tonnage
from tonnage import db
from tonnage.sinks import SqlSink
engine = db.engine("sqlite:///shop.db")
with engine.connect() as connection:
    assert connection.scalar(sqlalchemy.text("select 1")) == 1
db.async_engine("sqlite+aiosqlite:///shop.db")
assert db.page and db.page_of and db.only
tonnage.BatchWriter("clicks", SqlSink("sqlite:///shop.db", "clicks"))
""",
    "nats": """
import tonnage
from tonnage.sinks import NatsSink
tonnage.BatchWriter("clicks", NatsSink("nats://localhost:4222", "clicks"))
import nats.aio.client
""",
    "psycopg": """
import psycopg, psycopg_pool, tonnage.db.pools.threads
assert psycopg.pq.__impl__ == "binary"
""",
    "mongo": """
from tonnage import db
db.mongo("mongodb://localhost/shop")
import tonnage.db.mongodb.pages, tonnage.db.mongodb.cursors
""",
    "migrations": """
from pathlib import Path
from tonnage.cli.main import main
Path("migrations/versions").mkdir(parents=True)
assert main(["db", "migrate", "--url", "sqlite:///shop.db"]) == 0
""",
    "images": """
from io import BytesIO
from PIL import Image
from tonnage import images
file = BytesIO()
Image.new("RGB", (40, 20)).save(file, "PNG")
assert images.open(BytesIO(file.getvalue())).resized(max_width=20, max_height=20).width == 20
""",
    "background": """
import numpy, onnxruntime, PIL
import tonnage.images.background.job, tonnage.images.background.session
from tonnage import images
assert images.remove_background
""",
    "jobs": """
import tonnage.jobs.queue.producer, tonnage.jobs.queue.saqueue, tonnage.jobs.queue.worker
""",
    "objects": """
from tonnage.jobs.queue.shelf import open_store
open_store("results")
""",
    "logs": """
import tonnage
tonnage.get_logger("shop").info("started")
""",
    "otel": """
import tonnage.commands.otel.sending, tonnage.commands.otel.translate
""",
    "demo": "import alembic, argon2, fastapi, flask, jwt, nx_27017, psycopg_pool",
    "all": "import brotli, dotenv, fastapi, lmdb, nats, obstore, prometheus_client, saq, structlog",
}
