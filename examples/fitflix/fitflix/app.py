"""FitFlix: plans, activities and events of a gym. FastAPI over SQLite or PostgreSQL.

The limits that a request meets are in ``pyproject.toml``. What they ask of the application is in
how it answers: lists come in pages and without what is long, all that goes out whole has a size
that somebody chose, and what may be of any size is sent in parts that are made when the last one
has gone. It does not ask who may create an event.
"""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy import select

from fitflix import events, exports, live, registrations
from fitflix.database import Row, kept_rows
from fitflix.tables import Activity, Plan

app = FastAPI(title="FitFlix", summary="Plans, activities and events of a gym.")
for module in (events, registrations, exports, live):
    app.include_router(module.router)


@app.exception_handler(RequestValidationError)
async def refuse(_: Request, error: RequestValidationError) -> Response:
    """Say what is wrong without repeating it: that may be long, or what JSON cannot hold."""
    told = [{key: each[key] for key in ("type", "loc", "msg")} for each in error.errors()]
    return JSONResponse({"detail": told}, 422)


@app.get("/plans")
async def plans() -> list[Row]:
    """Return what a membership can be."""
    query = select(Plan.__table__).order_by(Plan.cents_a_month).limit(100)
    return await kept_rows("plans", query)


@app.get("/activities")
async def activities() -> list[Row]:
    """Return what there is to do."""
    query = select(Activity.__table__).order_by(Activity.name).limit(100)
    return await kept_rows("activities", query)
