"""A server in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")
from app_parts import SPP, TOKEN, make_models, png, unpack
from starlette.testclient import TestClient

import sppdet.app
from sppdet.app.server import create_app
from sppdet.app.session import Model, Session


@pytest.fixture(scope="session")
def models() -> list[Model]:
    return make_models()


@pytest.fixture
def session(models) -> Session:
    return Session(models)


@pytest.fixture
def client(session) -> TestClient:
    return TestClient(create_app(session, TOKEN), "http://127.0.0.1", headers={"x-sppdet-token": TOKEN})


@pytest.fixture
def image(client) -> dict[str, Any]:
    """A picture that the server keeps."""
    answer = client.post("/api/image", content=png())
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def ask(client, image) -> Callable[..., Any]:
    """Ask the first detector about the picture: JSON, or the header and the arrays of an answer in bytes."""

    def ask(name: str, run: int = SPP, **question: Any) -> Any:
        answer = client.post(f"/api/{name}", json={"image": image["image"], "run": run, **question})
        assert answer.status_code == 200, answer.text
        return unpack(answer.content) if "octet" in answer.headers["content-type"] else answer.json()

    return ask


@pytest.fixture
def static() -> Path:
    """The folder of the page's parts."""
    return Path(sppdet.app.__file__).parent / "static"
