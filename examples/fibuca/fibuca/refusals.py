"""Whatever is refused, by whomever: one kind of JSON (problem details), with what to do."""

from __future__ import annotations

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from tonnage import Problem, RequestRefusedError


def refusal(status: int, error: str, detail: str) -> RequestRefusedError:
    """Return the error that has a request answered with *status*, and what to do about it."""
    return RequestRefusedError(Problem(status, error, detail))


def key_refusal(header: str, error: str, detail: str) -> RequestRefusedError:
    """Return the same for a request without the right key in *header*."""
    return RequestRefusedError(
        Problem(401, error, detail, headers=((b"www-authenticate", header.encode()),))
    )


def register(app: Flask) -> None:
    """Have *app* answer all errors in this way."""
    app.register_error_handler(RequestRefusedError, _answer_refusal)
    app.register_error_handler(HTTPException, _answer_error)


def _answer_refusal(error: RequestRefusedError) -> Response:
    """Answer what the application, its uploads or its database refuse."""
    return _response_to(error.problem)


def _answer_error(error: HTTPException) -> Response:
    """Answer what Flask refuses, and what went wrong."""
    word = error.name.lower().replace(" ", "_")
    response = _response_to(Problem(error.code or 500, word, error.description or error.name))
    # Flask's own headers, such as Allow; not those of the page that this takes the place of.
    for name, value in error.get_headers():
        if name not in response.headers:
            response.headers[name] = value
    return response


def _response_to(problem: Problem) -> Response:
    answer = problem.answer()
    response = Response(answer.body, answer.status, content_type=answer.content_type.decode())
    for name, value in answer.headers:
        response.headers[name.decode()] = value.decode()
    return response
