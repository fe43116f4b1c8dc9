"""A Flask application, made by a factory."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask, Response, jsonify, request
from tests.frameworks.hold import hold


def create_app(name: str = "flask") -> Flask:
    """Make the application."""
    app = Flask(name)

    @app.get("/")
    def home() -> str:
        return f"hello {request.args.get('name', 'nobody')}"

    @app.post("/upload")
    def upload() -> Response:
        file = request.files["file"]
        return jsonify(name=file.filename, bytes=len(file.read()))

    @app.post("/count")
    def count() -> Response:
        return jsonify(bytes=len(request.get_data()))

    @app.get("/hold")
    def hold_memory() -> Response:
        return jsonify(mb=hold(**{name: int(value) for name, value in request.args.items()}))

    @app.get("/rows")
    def rows() -> Response:
        def lines() -> Iterator[str]:
            yield from (f"{number}\n" for number in range(50))

        return Response(lines(), mimetype="text/plain")

    @app.get("/environ")
    def environ() -> Response:
        kept = ("wsgi.url_scheme", "REMOTE_ADDR", "PATH_INFO", "SCRIPT_NAME", "QUERY_STRING")
        return jsonify({name: request.environ[name] for name in kept})

    @app.get("/posts/<slug>")
    def post(slug: str) -> str:
        return slug

    @app.get("/fail")
    def fail() -> str:
        raise LookupError("nothing here")

    return app


app = create_app()
