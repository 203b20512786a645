"""The server of the page: loopback only, a token, one job at a time, and no path from the client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, TypeVar, get_args

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from sppdet.app import payloads
from sppdet.app.guard import HOSTS, Guard, error_response, json_response
from sppdet.app.questions import MOST_BYTES, read_body, read_question, read_whole_number
from sppdet.app.session import Picture, Session
from sppdet.classification.classifier import Classifier
from sppdet.config.classification import ViewKind
from sppdet.config.load import one_line
from sppdet.detector import Detector
from sppdet.errors import InputError, SppdetError
from sppdet.structures import box_in_image

logger = logging.getLogger(__name__)

T = TypeVar("T")

MOST_WAITING = 8  # jobs
FOLDER = Path(__file__).parent / "static"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


class Jobs:
    """One thread that does one job after another; a few may wait, those whose image is still on its way included."""

    def __init__(self) -> None:
        self.thread, self.waiting = ThreadPoolExecutor(1, "sppdet-app"), 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place. Raises HTTPException 429 if too many jobs wait."""
        if self.waiting >= MOST_WAITING:
            raise HTTPException(429, "busy: try again in a moment")
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Do a job that has a place."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, function, *arguments)

    async def do(self, function: Callable[..., T], *arguments: Any) -> T:
        with self.place():
            return await self.run(function, *arguments)


class Server:
    """The routes, and what they share."""

    def __init__(self, session: Session) -> None:
        self.session, self.jobs, self.stopped = session, Jobs(), Event()

    def routes(self) -> list[Route]:
        files = {file.name: file for file in FOLDER.iterdir() if file.suffix in KINDS}  # nothing else is ever served
        parts = [_file_route(f"/{name}", file) for name, file in files.items() if name != "page.html"]
        posts = (self.image, self.data_image, self.detect, self.evidence, self.race, self.tree, self.views)
        return [
            _file_route("/", files["page.html"]),
            *parts,
            Route("/api/state", safely(self.state)),
            Route("/api/picture/{image}", safely(self.picture)),
            Route("/api/split/{run:int}/{split}", safely(self.split)),
            *(Route(f"/api/{one.__name__.replace('_', '-')}", safely(one), methods=["POST"]) for one in posts),
        ]

    async def state(self, _request: Request) -> Response:
        return json_response(payloads.describe_models(self.session.models, MOST_BYTES))

    async def split(self, request: Request) -> Response:
        run = self._run(request.path_params)
        split = request.path_params["split"]
        return json_response(await self.jobs.do(payloads.describe_split, self.session.models[run], split))

    async def picture(self, request: Request) -> Response:
        picture = self.session.picture(request.path_params["image"])
        return Response(await self.jobs.do(payloads.encode_picture, picture), media_type="image/jpeg")

    async def image(self, request: Request) -> Response:
        with self.jobs.place():
            picture = await self.jobs.run(self.session.add, await read_body(request, MOST_BYTES))
        return json_response(payloads.describe_picture(picture))

    async def data_image(self, request: Request) -> Response:
        asked = await read_question(request)
        split, index = asked.get("split"), read_whole_number(asked, "index", 0, 1 << 31)
        picture = await self.jobs.do(self.session.add_from, self._run(asked), str(split), index)
        return json_response(payloads.describe_picture(picture))

    async def detect(self, request: Request) -> Response:
        _, picture, run = await self._question(request)
        detector = self.session.model(run, Detector)
        found = await self.jobs.do(self.session.find, picture.id, run)
        return Response(payloads.pack_found(found, detector), media_type="application/octet-stream")

    async def evidence(self, request: Request) -> Response:
        asked, picture, run = await self._question(request)
        box, label = box_in_image(asked.get("box"), picture.size), None
        if asked.get("label") is not None:
            label = read_whole_number(asked, "label", 1, len(self.session.models[run].network.classes))
        return json_response(await self.jobs.do(self.session.evidence, picture.id, run, box, label))

    async def tree(self, request: Request) -> Response:
        asked, picture, run = await self._question(request)
        node = await self.jobs.do(self.session.node, picture.id, run, box_in_image(asked.get("box"), picture.size))
        return Response(payloads.pack_tree(node, picture), media_type="application/octet-stream")

    async def views(self, request: Request) -> Response:
        asked, picture, run = await self._question(request)
        classifier, kind = self.session.model(run, Classifier), asked.get("views")
        if kind is not None and kind not in get_args(ViewKind):
            raise InputError("no such views", field="views", expected=get_args(ViewKind), got=kind)
        return json_response(await self.jobs.do(payloads.describe_views, classifier, picture, kind))

    async def race(self, request: Request) -> Response:
        asked, picture, run = await self._question(request)
        regions = read_whole_number(asked, "regions", 1, 10_000)
        loop, events, gone = asyncio.get_running_loop(), asyncio.Queue[dict[str, Any]](), Event()

        def report(event: dict[str, Any]) -> None:
            if gone.is_set() or self.stopped.is_set():
                raise InputError("the race was left")
            loop.call_soon_threadsafe(events.put_nowait, event)

        async def work() -> None:
            try:
                await self.jobs.do(self.session.race, picture.id, run, regions, report)
            except Exception as error:
                events.put_nowait({"error": describe_error(error)})
            events.put_nowait({})

        async def lines() -> AsyncIterator[bytes]:
            job = asyncio.ensure_future(work())
            try:
                while event := await events.get():
                    yield payloads.to_json(event) + b"\n"
                await job
            finally:
                gone.set()

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    def _run(self, asked: dict[str, Any]) -> int:
        return read_whole_number(asked, "run", 0, len(self.session.models) - 1)

    async def _question(self, request: Request) -> tuple[dict[str, Any], Picture, int]:
        """Return the body of a question about a picture, the picture and the run."""
        asked = await read_question(request)
        return asked, self.session.picture(str(asked.get("image"))), self._run(asked)


def _file_route(path: str, file: Path) -> Route:
    data, kind = file.read_bytes(), KINDS[file.suffix]
    return Route(path, lambda _request: Response(data, media_type=kind))


def describe_error(error: BaseException) -> str:
    """Return one line for the page; what is no error of the user's is logged."""
    if isinstance(error, (SppdetError, HTTPException)):
        return error.detail if isinstance(error, HTTPException) else one_line(error)
    logger.error("an answer failed", exc_info=error)
    return "this failed; the terminal has the details"


def safely(function: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Answer with one line of JSON whatever a route raises."""

    async def answer(request: Request) -> Response:
        try:
            return await function(request)
        except Exception as error:
            return await _answer_error(request, error)

    return answer


async def _answer_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 400 if isinstance(error, SppdetError) else 500
    return error_response(status, describe_error(error))


def create_app(session: Session, token: str) -> Starlette:
    """Return the application: the page and its API need the token, and every request comes by one of HOSTS."""
    server = Server(session)
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False)
    handlers: dict[Any, Any] = {HTTPException: _answer_error}  # such as of an unknown address
    app = Starlette(routes=server.routes(), middleware=[Middleware(Guard, token), hosts], exception_handlers=handlers)
    app.state.stopped = server.stopped
    return app
