"""Serves the page: routes, headers and errors as JSON. Only three addresses write, and only what readers note.

/                      the page          /static/...         its script and style
/api/declaration       every panel       /api/board?id=      rows of a dashboard's panels
/api/choices?id=       values of filters /api/panel.csv?id=  one panel as CSV
/api/customers[.csv]   customers         /api/customer?id=   history of one customer
/api/groups[.csv]      the explorer          /api/notes          notes on the time axis
/api/board.csv?id=     all panels of a dashboard
/api/worklist[.csv]    customers to contact  /api/views          saved views

POST /api/contact, /api/views and /api/views/delete write the state of a customer, and saved views.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat
from dashboards.boards.data import CUSTOMERS
from dashboards.horizons import Horizons, bundle_searches, read_horizons, with_horizons
from dashboards.panels import Dashboard, Panel, Span
from dashboards.web import boards as board_routes
from dashboards.web import customers as customer_routes
from dashboards.web import segments as segment_routes
from dashboards.web import work_list as work_list_routes
from dashboards.web import workspace as workspace_routes
from dashboards.web.boards import Json, Searches
from dashboards.web.cache import RecentCache
from dashboards.web.compact import compact
from dashboards.web.csv import csv_text
from dashboards.web.declaration import declaration
from dashboards.web.parameters import parse_query, single_value
from dashboards.web.posting import check_origin, parse_body, read_body, response_status
from dashboards.web.request_queue import DEFAULT_LIMITS, Abandoned, Limits, RequestQueue, Result, ServerBusyError
from features.calendar import UTC_CALENDAR, Calendar
from features.errors import ShopstreamError, UsageError
from features.hold_out import NOBODY, HoldOut
from features.schema import TS_MAX

STATIC: Final = Path(__file__).parent / "static"

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Headers of every response: no content from other origins, no inline script, no frame around the page."""

OWN_PARAMETERS: Final = frozenset({"view", "refresh", "table", "order", "hide"})
"""Parameters of the page itself, as in static/address.js; requests of figures do not have them."""

PLAIN_QUERY: Final = re.compile(r"[A-Za-z0-9_.=&-]{0,500}")
"""Queries without characters that browsers and servers write in different ways."""

CALENDAR_LIFETIME_S: Final = 30.0
"""Longest time until the page follows trends that were computed by another calendar."""

CLIENT_CLOSED: Final = 499
"""Status for a client that has gone, which nobody receives."""

PERMISSIONS_LIFETIME_S: Final = 10.0
"""Longest time until the page notices that it may write, or may no longer."""

HORIZONS_LIFETIME_S: Final = 10.0
"""Longest time until the page names the horizon of a new bundle."""

T = TypeVar("T")
Parameters = Mapping[str, Sequence[str]]
Handler = Callable[[Parameters, Searches], T]
Respond = Callable[[Request], Awaitable[Response]]
Csv = tuple[str, str]
"""Name of the file, and its text."""


@dataclass(frozen=True, slots=True)
class Source:
    """Data sources of the page.

    Attributes:
        dashboards: dashboards of the declaration.
        run: name of the run whose indices are searched.
        search: function that searches the indices.
        table_folder: folder of the customer table; it may be missing.
        now_ms: wall clock.
        timer: seconds since an arbitrary start.
        calendar: function that returns the calendar of the run's figures.
        money: format of amounts.
        actions: recommended action -> its text.
        workspace: writer of what readers note; None: the page is read-only.
        limits: bounds of the requests that are computed at the same time.
        hold_out: customers whom nobody contacts.
        effect: function that returns a sentence about the measured effect of contacts; empty without one.
        has_other_runs: function that returns whether there are other runs, so that the page names its own.
    """

    dashboards: Sequence[Dashboard]
    run: str
    search: Searches
    table_folder: Path
    now_ms: Callable[[], int]
    timer: Callable[[], float]
    calendar: Callable[[], Calendar] = lambda: UTC_CALENDAR
    money: MoneyFormat = PLAIN_MONEY
    actions: Mapping[str, str] = field(default_factory=dict)
    workspace: workspace_routes.Writer | None = None
    limits: Limits = DEFAULT_LIMITS
    hold_out: HoldOut = NOBODY
    effect: Callable[[], str] = lambda: ""
    has_other_runs: Callable[[], bool] = lambda: False


def build(source: Source, hosts: Sequence[str]) -> Starlette:
    """Build the application.

    Args:
        source: data sources of the page.
        hosts: allowed host names. Other names are rejected, so that no foreign page can read this one through a host
            name that resolves to it.
    """
    handlers = _Handlers(source)
    queue = RequestQueue(source.search, source.timer, source.limits)
    json_routes = {
        "/api/declaration": handlers.declaration,
        "/api/board": handlers.board,
        "/api/choices": handlers.choices,
        "/api/customers": handlers.customers,
        "/api/customer": handlers.customer,
        "/api/groups": handlers.groups,
        "/api/worklist": handlers.work_list,
        "/api/notes": handlers.notes,
        "/api/views": handlers.views,
    }
    csv_routes = {
        "/api/panel.csv": handlers.panel_csv,
        "/api/board.csv": handlers.board_csv,
        "/api/customers.csv": handlers.customers_csv,
        "/api/groups.csv": handlers.groups_csv,
        "/api/worklist.csv": handlers.work_list_csv,
    }
    post_routes: dict[str, tuple[type[msgspec.Struct], Callable[[Any], Json]]] = {
        "/api/contact": (workspace_routes.ContactRequest, handlers.change_contact),
        "/api/views": (workspace_routes.ViewRequest, handlers.save_view),
        "/api/views/delete": (workspace_routes.ViewDeletion, handlers.delete_view),
    }
    return Starlette(
        routes=[
            Route("/", _page(source.dashboards)),
            *(Route(path, _as_json(path, handler, queue)) for path, handler in json_routes.items()),
            *(Route(path, _as_csv(path, handler, queue)) for path, handler in csv_routes.items()),
            *(Route(path, _accepting(*accepted, queue), methods=["POST"]) for path, accepted in post_routes.items()),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(_SecurityHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
            Middleware(GZipMiddleware, minimum_size=1_000),
        ],
        exception_handlers={ShopstreamError: _error_response, Abandoned: _gone},
    )


class _Handlers:
    """Handlers of the addresses."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._horizons = RecentCache(source.timer, HORIZONS_LIFETIME_S)
        self._calendars = RecentCache(source.timer, CALENDAR_LIFETIME_S)
        self._permissions = RecentCache(source.timer, PERMISSIONS_LIFETIME_S)

    def declaration(self, parameters: Parameters, search: Searches) -> Json:  # noqa: ARG002 - as every handler
        calendar, horizons = self._calendar(), self._known_horizons(search)
        boards = [with_horizons(board, horizons) for board in self._source.dashboards]
        return {
            **declaration(boards, self._source.run, self._source.money),
            **customer_routes.declaration(horizons.of(CUSTOMERS.index)),
            "horizons": dict(horizons.days),
            "actions": dict(self._source.actions),
            "read_only": self._read_only(),
            "writable": not self._read_only(),
            "several": self._calendars.get("runs", self._source.has_other_runs),
            "calendar": {"time_zone": calendar.time_zone, "week_start": calendar.week_start},
        }

    def board(self, parameters: Parameters, search: Searches) -> Json:
        board = self._board(parameters, search)
        query = parse_query(board, _without(parameters, "id"))
        calendar, money = self._calendar(), self._source.money
        data = board_routes.board_data(board, query, search, self._source.now_ms(), calendar, money)
        notes = workspace_routes.notes_between(search, Span(data["from_ms"], data["to_ms"]))
        return compact(data) | {"notes": notes, "horizons": dict(self._known_horizons(search).days)}

    def choices(self, parameters: Parameters, search: Searches) -> Json:
        return board_routes.choices(self._board(parameters, search), search)

    def customers(self, parameters: Parameters, search: Searches) -> Json:
        listed = customer_routes.customers(parameters, search, self._source.money)
        return listed | {"horizons": dict(self._known_horizons(search).days)}

    def customer(self, parameters: Parameters, search: Searches) -> Json:
        source = self._source
        data = customer_routes.history(
            parameters, search, source.now_ms(), source.money, self._calendar(), source.actions
        )
        return data | {"hold_out": source.hold_out.contains(single_value(parameters, "id"))}

    def work_list(self, parameters: Parameters, search: Searches) -> Json:
        source = self._source
        horizon = self._known_horizons(search).of(CUSTOMERS.index)
        return work_list_routes.work_list_data(
            parameters, search, source.now_ms(), source.money, source.actions, horizon, source.hold_out, source.effect()
        )

    def work_list_csv(self, parameters: Parameters, search: Searches) -> Csv:
        return "worklist", work_list_routes.work_list_csv(self.work_list(parameters, search), self._source.money)

    def notes(self, parameters: Parameters, search: Searches) -> Json:  # noqa: ARG002 - as every handler
        return {"notes": workspace_routes.notes_between(search, Span(0, TS_MAX))}

    def views(self, parameters: Parameters, search: Searches) -> Json:  # noqa: ARG002 - as every handler
        return {"views": workspace_routes.saved_views(search)}

    def change_contact(self, request: workspace_routes.ContactRequest) -> Json:
        source = self._source
        return workspace_routes.change_contact(request, self._writer(), source.search, source.now_ms())

    def save_view(self, request: workspace_routes.ViewRequest) -> Json:
        source = self._source
        return workspace_routes.save_view(request, self._writer(), source.search, source.now_ms())

    def delete_view(self, request: workspace_routes.ViewDeletion) -> Json:
        return workspace_routes.delete_view(request, self._writer(), self._source.search)

    def groups(self, parameters: Parameters, search: Searches) -> Json:
        horizon = self._known_horizons(search).of(CUSTOMERS.index)
        return segment_routes.groups(parameters, search, self._source.table_folder, self._source.money, horizon)

    def panel_csv(self, parameters: Parameters, search: Searches) -> Csv:
        board, panel = self._panel(single_value(parameters, "id"), search)
        query = parse_query(board, _without(parameters, "id"))
        calendar, money, now_ms = self._calendar(), self._source.money, self._source.now_ms()
        single = _single_panel(board, panel)
        data = board_routes.board_data(single, query, search, now_ms, calendar, money)["panels"][panel.id]
        if "problem" in data:
            raise ShopstreamError(data["problem"], data["remedy"])
        return panel.id, csv_text(*board_routes.csv_columns(panel, data, query), money, calendar.time_zone)

    def board_csv(self, parameters: Parameters, search: Searches) -> Csv:
        board = self._board(parameters, search)
        query = parse_query(board, _without(parameters, "id"))
        calendar, money, now_ms = self._calendar(), self._source.money, self._source.now_ms()
        panels = board_routes.board_data(board, query, search, now_ms, calendar, money)["panels"]
        sections = []
        for panel in board.panels:
            data = panels[panel.id]
            if "problem" in data:
                raise ShopstreamError(f"{panel.title}: {data['problem']}", data["remedy"])
            title = csv_text((panel.title,), (), ("text",), money)
            sections.append(title + csv_text(*board_routes.csv_columns(panel, data, query), money, calendar.time_zone))
        return board.id, "\r\n".join(sections)

    def customers_csv(self, parameters: Parameters, search: Searches) -> Csv:
        listed, horizon = self.customers(parameters, search), self._known_horizons(search).of(CUSTOMERS.index)
        hold_out, name = self._source.hold_out, "customers"
        if hold_out.share > 0:
            # the file is an audience for contacts, and its name states who is missing
            listed, name = customer_routes.without_hold_out(listed, hold_out), "customers-without-hold-out"
        return name, customer_routes.customers_csv(listed, self._source.money, horizon)

    def groups_csv(self, parameters: Parameters, search: Searches) -> Csv:
        return "groups", segment_routes.groups_csv(self.groups(parameters, search), self._source.money)

    def _read_only(self) -> str:
        """Return why the page cannot write; empty if it can."""
        reason: str = self._permissions.get(
            "read only", lambda: workspace_routes.read_only_reason(self._source.workspace)
        )
        return reason

    def _writer(self) -> workspace_routes.Writer:
        workspace_routes.check_writable(self._read_only())
        assert self._source.workspace is not None
        return self._source.workspace

    def _calendar(self) -> Calendar:
        calendar: Calendar = self._calendars.get("calendar", self._source.calendar)
        return calendar

    def _known_horizons(self, search: Searches) -> Horizons:
        """Return the horizons of the scores that are indexed."""
        horizons: Horizons = self._horizons.get(
            "horizons", lambda: read_horizons(board_routes.complete(search.many(bundle_searches())))
        )
        return horizons

    def _board(self, parameters: Parameters, search: Searches) -> Dashboard:
        boards = {board.id: board for board in self._source.dashboards}
        # the page asks for its first dashboard before it knows the name
        name = single_value(parameters, "id") or next(iter(boards))
        if name not in boards:
            raise UsageError(f"There is no dashboard {name[:100]!r}.", f"There are {', '.join(boards)}.")
        return with_horizons(boards[name], self._known_horizons(search))

    def _panel(self, name: str, search: Searches) -> tuple[Dashboard, Panel]:
        for board in self._source.dashboards:
            if any(panel.id == name for panel in board.panels):
                named = with_horizons(board, self._known_horizons(search))
                return named, next(panel for panel in named.panels if panel.id == name)
        raise UsageError(f"There is no panel {name[:100]!r}.", "Use the link of a panel.")


def _single_panel(board: Dashboard, panel: Panel) -> Dashboard:
    return Dashboard(board.id, board.title, board.summary, (panel,), board.controls, board.days)


def _without(parameters: Parameters, name: str) -> Parameters:
    return {key: values for key, values in parameters.items() if key != name}


def _key(parameters: Parameters) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(sorted((name, tuple(values)) for name, values in parameters.items()))


# --- requests and responses -------------------------------------------------------------------------------------------


def _parameters(request: Request) -> Parameters:
    return {name: request.query_params.getlist(name) for name in request.query_params}


def _as_json(path: str, handler: Handler[Json], queue: RequestQueue) -> Respond:
    async def respond(request: Request) -> Response:
        result = await _result(path, handler, queue, request)
        stale = {} if result.age_s is None else {"stale_ms": round(result.age_s * 1_000)}
        return JSONResponse(result.value | stale, headers={"Cache-Control": "no-store"})

    return respond


def _as_csv(path: str, handler: Handler[Csv], queue: RequestQueue) -> Respond:
    async def respond(request: Request) -> Response:
        name, text = (await _result(path, handler, queue, request, stale=False)).value
        disposition = f'attachment; filename="{name}.csv"'
        headers = {"Content-Disposition": disposition, "Cache-Control": "no-store"}
        return Response("\ufeff" + text, media_type="text/csv; charset=utf-8", headers=headers)

    return respond


async def _result(
    path: str, handler: Handler[Any], queue: RequestQueue, request: Request, *, stale: bool = True
) -> Result:
    """Compute a response, or take it from an equal request. Raises as `RequestQueue.result`."""
    parameters = _parameters(request)

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    key = (path, _key(parameters))
    return await queue.result(key, lambda search: handler(parameters, search), disconnected, stale=stale)


def _accepting(kind: type[msgspec.Struct], handler: Callable[[Any], Json], queue: RequestQueue) -> Respond:
    async def respond(request: Request) -> Response:
        check_origin(request.headers)
        body = parse_body(await read_body(request), kind)
        try:
            data = await run_in_threadpool(handler, body)
        finally:
            queue.forget()  # the writer sees what was written
        return JSONResponse(data, headers={"Cache-Control": "no-store"})

    return respond


def _page(dashboards: Sequence[Dashboard]) -> Respond:
    """Return the route of the page. Its response lets a browser load the first figures before the scripts run."""
    names = {"", *(dashboard.id for dashboard in dashboards)}

    async def respond(request: Request) -> Response:
        shown = request.query_params
        address = "&".join(f"{name}={value}" for name, value in shown.multi_items() if name not in OWN_PARAMETERS)
        view = shown.get("view", "")
        headers = {"Cache-Control": "no-cache"}
        if view in names and "id" not in shown and PLAIN_QUERY.fullmatch(address):
            # exactly the address that the script requests
            query = f"{address}&id={view}".removeprefix("&")
            headers["Link"] = f"<api/board?{query}>; rel=preload; as=fetch; crossorigin"
        return FileResponse(STATIC / "index.html", headers=headers)

    return respond


async def _error_response(request: Request, error: Exception) -> Response:  # noqa: ARG001 - as Starlette calls it
    assert isinstance(error, ShopstreamError)
    headers = {"Retry-After": "2"} if isinstance(error, ServerBusyError) else None
    return JSONResponse({"problem": error.message, "remedy": error.remedy}, response_status(error), headers)


async def _gone(request: Request, error: Exception) -> Response:  # noqa: ARG001 - as Starlette calls it
    return Response(status_code=CLIENT_CLOSED)


class _SecurityHeaders:
    """Adds the headers to every response, including errors."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        await self._app(scope, receive, send_with_headers)
