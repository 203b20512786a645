"""The server of the page: who may ask, what is refused, and what it answers."""

import asyncio
import gc
import io
import json
import logging
from threading import Event

import numpy as np
import pytest
import torch
from app_parts import CLASSIFIER, FC, HOSTILE, NAMED, SPP, TOKEN, png
from factories import CLASSES
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.testclient import TestClient

from sppdet.app import session as sessions
from sppdet.app.questions import read_body
from sppdet.app.server import Server, create_app
from sppdet.boxes import nms, vote
from sppdet.detector import Detector
from sppdet.errors import InputError
from sppdet.images import PIXELS

API = [("GET", "/api/state"), ("GET", "/api/picture/1"), ("GET", "/api/split/0/val"), *(
    ("POST", f"/api/{name}") for name in ("image", "data-image", "detect", "evidence", "race", "tree", "views")
)]  # fmt: skip


def error_of(answer, status: int = 400) -> str:
    """The one line that an answer says."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert "\n" not in answer.json()["error"]
    assert "Traceback" not in answer.text
    return answer.json()["error"]


@pytest.mark.parametrize(("method", "path"), API)
@pytest.mark.parametrize("token", [None, "", "wrong", f"{TOKEN}x", "é"])
def test_nothing_is_answered_without_the_token(method, path, token, session):
    client = TestClient(create_app(session, TOKEN), "http://127.0.0.1")
    headers = {} if token is None else {b"x-sppdet-token": token.encode()}
    assert "token" in error_of(client.request(method, f"{path}?token={TOKEN}", headers=headers), 403)
    assert not session.pictures


def test_the_page_needs_the_token_and_forbids_everything_from_elsewhere(client):
    assert client.get("/").status_code == client.get("/?token=x").status_code == 403
    page = client.get(f"/?token={TOKEN}")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "http" not in page.text.replace("http-equiv", "")
    assert not any(word in page.text for word in ("style=", "onclick", "<style"))
    for answer in (page, client.get("/app.css"), client.get("/api/state"), client.get("/nothing"), client.get("/")):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "0.0.0.0", "", "[::1]"])
def test_another_host_is_refused(host, client):
    assert client.get("/api/state", headers={"host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:9"])
def test_this_machine_is_not(host, client):
    assert client.get("/api/state", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/../server.py", "/%2e%2e/server.py", "/static/main.js", "/session.py", "//etc/passwd"]
)
def test_only_the_parts_of_the_page_are_files(path, client):
    assert client.get(path).status_code == 404


def test_an_image_over_the_limits_is_refused(client, session, monkeypatch):
    monkeypatch.setattr("sppdet.app.server.MOST_BYTES", 1000)
    expected = "too large (expected up to 1 MB)"
    assert error_of(client.post("/api/image", content=png()), 413) == expected
    monkeypatch.undo()
    monkeypatch.setenv(PIXELS, "1000")
    assert "too large" in error_of(client.post("/api/image", content=png()))
    assert not session.pictures


def test_a_body_without_a_length_is_read_up_to_its_limit():
    parts = [{"type": "http.request", "body": b"x" * 600, "more_body": True} for _ in range(9)]

    async def receive() -> dict[str, object]:
        return parts.pop()

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(HTTPException) as refused:
        asyncio.run(read_body(request, 1000))
    assert (refused.value.status_code, len(parts)) == (413, 7)


def test_a_page_that_is_left_while_it_sends_an_image_leaves_no_traceback(session, caplog):
    server = Server(session)
    places = []

    async def receive() -> dict[str, object]:
        places.append(server.jobs.waiting)  # before the image is in memory
        return {"type": "http.disconnect"}

    (route,) = (route for route in server.routes() if route.path == "/api/image")
    sent: list[dict] = []

    async def send(message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/api/image", "headers": []}
    with caplog.at_level(logging.ERROR):
        asyncio.run(route.app(scope, receive, send))
    assert (sent[0]["status"], places, server.jobs.waiting) == (400, [1], 0)
    assert not caplog.text


def test_a_second_run_has_the_seconds_of_the_search_it_shares(session):
    picture = session.add(png())
    first, second = (session.find(picture.id, run).seconds for run in (SPP, NAMED))
    assert first["proposals"] == second["proposals"] > 0
    assert next(iter(first)) == "proposals"


@pytest.mark.parametrize("data", [b"", b"text", b"\x89PNG\r\n\x1a\n", png()[:500], b"GIF89a", b"%!PS-Adobe"])
def test_what_is_no_image_is_said_in_one_line_without_a_path(data, client):
    message = error_of(client.post("/api/image", content=data))
    assert message.startswith("the image: ")
    assert "tmp" not in message
    assert "upload" not in message


@pytest.mark.parametrize(
    ("question", "field"),
    [
        (b"", "body"), (b"[]", "body"), (b"{", "body"), (b"[" * 200 + b"]" * 200, "body"), (b"\xff\xfe\xff", "body"),
        ({"image": "99"}, "image"), ({"image": None}, "image"), ({"image": "../1"}, "image"),
        ({"run": 9}, "run"), ({"run": -1}, "run"), ({"run": "0"}, "run"), ({"run": CLASSIFIER}, "run"),
        ({"box": None}, "box"), ({"box": [1, 2]}, "box"), ({"box": [5, 5, 5, 9]}, "box"),
        ({"box": [0, 0, 81, 9]}, "box"),
        ({"box": [float("nan")] * 4}, "box"), ({"box": [0, 0, 10**400, 9]}, "box"), ({"box": ["0", 0, 9, 9]}, "box"),
        ({"label": 0}, "label"), ({"label": 4}, "label"), ({"label": 1.5}, "label"),
    ],
)  # fmt: skip
def test_a_question_that_cannot_be_used_names_its_field(question, field, client, image):
    if not isinstance(question, bytes):
        good = {"image": image["image"], "run": SPP, "box": [10, 10, 40, 40], "label": 1}
        question = json.dumps(good | question).encode()
    assert error_of(client.post("/api/evidence", content=question)).startswith(f"{field}: ")


def test_a_question_is_short(client):
    assert "too large" in error_of(client.post("/api/evidence", content=b" " * 70_000), 413)


def test_no_path_is_taken_from_the_client(client):
    for index in ("/etc/passwd", "0", -1, 3, 1.0, None):
        asked = {"run": SPP, "split": "val", "index": index}
        assert "index: " in error_of(client.post("/api/data-image", json=asked))
    for split in ("../val", "/etc", None, "trainval"):
        assert "split: " in error_of(client.post("/api/data-image", json={"run": SPP, "split": split, "index": 0}))
    assert "split: " in error_of(client.get("/api/split/1/val"))
    assert client.get("/api/split/9/val").status_code == 400


def test_a_picture_of_the_data_comes_with_its_objects(client):
    listed = client.get("/api/split/0/val").json()
    assert listed == {"names": ["<0>", "<1>", "<2>"], "images": 3}
    picture = client.post("/api/data-image", json={"run": SPP, "split": "val", "index": 1}).json()
    assert (picture["width"], picture["height"]) == (70, 50)
    assert picture["truth"] == [{"box": [10, 10, 40, 40], "label": 2, "difficult": False}]
    shown = Image.open(io.BytesIO(client.get(f"/api/picture/{picture['image']}").content))
    assert (shown.format, shown.size) == ("JPEG", (70, 50))


def test_only_the_last_pictures_are_kept(client, session, monkeypatch):
    ids = [client.post("/api/image", content=png(20, 20, k)).json()["image"] for k in range(8)]
    assert list(session.pictures) == ids[-sessions.MOST_PICTURES :]
    assert "not kept" in error_of(client.get(f"/api/picture/{ids[0]}"))
    monkeypatch.setattr(sessions, "MOST_PIXELS", 1000)
    client.post("/api/image", content=png(40, 40))
    assert len(session.pictures) == 1


def test_candidates_give_the_detections_of_the_detector(ask, session, models):
    found = ask("detect")
    detector, pixels = models[SPP].network, session.pictures["1"].pixels
    assert np.array_equal(found["proposals"], detector.encode(pixels) and session.find("1", SPP).proposals)
    boxes, scores, labels = (torch.from_numpy(found[name].copy()) for name in ("boxes", "scores", "labels"))
    assert torch.equal(scores, scores.sort(descending=True).values)
    selection, expected = detector.config.selection, detector.detect(pixels)
    kept = nms(boxes, scores, labels.long(), selection.nms_iou, selection.max_per_class)
    assert torch.equal(labels[kept].long(), expected.labels)
    assert torch.equal(scores[kept], expected.scores)
    voted = vote(boxes, scores + 1.0, labels.long(), kept, selection.vote_iou)
    assert torch.allclose(voted, expected.boxes, atol=1e-3)
    probable = torch.from_numpy(found["probabilities"].copy())[kept]
    assert torch.equal(probable, detector.calibration.probabilities(expected.scores, expected.labels))
    regions = torch.from_numpy(found["regions"].copy())[kept].long()
    own = detector.encode(pixels).score(torch.from_numpy(found["proposals"].copy()))
    assert torch.allclose(own[regions, labels[kept].long() - 1], scores[kept], atol=1e-4)


def test_evidence_adds_up(ask):
    answer = ask("evidence", box=[10, 10, 50.5, 40])
    evidence = answer["evidence"]
    cells = sum(sum(map(sum, part["cells"])) for part in evidence["maps"])
    bins = sum(sum(map(sum, level)) for part in evidence["maps"] for level in part["levels"])
    score = answer["scores"][answer["label"] - 1]
    assert evidence["bias"] + cells == pytest.approx(score, abs=1e-4)
    assert evidence["bias"] + bins == pytest.approx(score, abs=1e-4)
    assert len(answer["scores"]) == len(answer["probabilities"]) == len(CLASSES)
    assert ask("evidence", box=[10, 10, 50.5, 40], label=2)["label"] == 2


def test_fully_connected_layers_have_scores_and_a_reason(ask):
    answer = ask("evidence", FC, box=[10, 10, 50, 40], label=3)
    assert (answer["evidence"], answer["probabilities"], len(answer["scores"])) == (None, None, len(CLASSES))
    assert "fully connected" in answer["reason"]


def test_the_hierarchy_of_a_proposal(ask):
    proposals = ask("detect")["proposals"]
    for proposal in proposals[:10]:
        tree = ask("tree", box=proposal.tolist())
        boxes, parents, labels = tree["boxes"], tree["parents"], tree["labels"]
        assert np.allclose(boxes[tree["node"]], proposal, atol=1e-3)
        assert len(boxes) == len(parents) == 2 * len(np.unique(labels)) - 1
        assert parents[-1] == -1
        assert (parents[:-1] > np.arange(len(parents) - 1)).all()
        assert np.allclose(boxes[-1], [0, 0, 80, 60])
        for node, parent in enumerate(parents[:-1]):
            assert (boxes[parent, :2] <= boxes[node, :2]).all()
            assert (boxes[parent, 2:] >= boxes[node, 2:]).all()
        assert ", k " in tree["origin"]


def test_the_race_reports_the_stages_as_they_pass(client, image, monkeypatch):
    monkeypatch.setattr(sessions, "REPORT_EVERY", 0.0)
    answer = client.post("/api/race", json={"image": image["image"], "run": SPP, "regions": 12})
    assert answer.headers["content-type"] == "application/x-ndjson"
    first, *events = map(json.loads, answer.text.splitlines())
    assert first == {"regions": 12}
    assert [event["racer"] for event in events] == sorted([event["racer"] for event in events], reverse=True)
    for racer in ("SPPnet", "R-CNN"):
        own = [event for event in events if event["racer"] == racer]
        totals = [sum(event["seconds"].values()) for event in own]
        assert totals == sorted(totals)
        assert len(own) > 3
        assert "detections" in own[-1]
        assert set(own[-1]["seconds"]) == {"preprocess", "conv", "pooling", "heads", "nms"}


def test_an_error_in_the_race_is_its_last_line(client, image, monkeypatch, caplog):
    asked = {"image": image["image"], "run": SPP, "regions": 5}
    for regions in (0, "5", None):
        assert "regions: " in error_of(client.post("/api/race", json=asked | {"regions": regions}))
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(Detector, "detect", lambda *_: 1 / 0)
        lines = client.post("/api/race", json=asked).text.splitlines()
    assert json.loads(lines[-1]) == {"error": "this failed; the terminal has the details"}
    assert "ZeroDivisionError" in caplog.text


def test_a_race_that_is_left_ends_without_a_word(session, image, monkeypatch, caplog):
    monkeypatch.setattr(sessions, "REPORT_EVERY", 0.0)
    left, race = [], session.race

    def watch(*arguments) -> None:
        try:
            race(*arguments)
        except InputError as error:
            left.append(error)
            raise

    monkeypatch.setattr(session, "race", watch)

    async def leave() -> None:
        body = json.dumps({"image": image["image"], "run": SPP, "regions": 12}).encode()

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        server = Server(session)
        lines = (await server.race(Request({"type": "http", "headers": []}, receive))).body_iterator
        await anext(lines)
        await lines.aclose()
        await server.jobs.do(gc.collect)  # once the race is over
        await asyncio.sleep(0)
        gc.collect()

    with caplog.at_level(logging.ERROR):
        asyncio.run(leave())
    assert [error.message for error in left] == ["the race was left"]
    assert not caplog.text


def test_an_error_of_ours_says_so_and_is_logged(client, image, monkeypatch, caplog):
    monkeypatch.setattr(sessions.Session, "find", lambda *_: 1 / 0)
    answer = client.post("/api/detect", json={"image": image["image"], "run": SPP})
    assert "terminal" in error_of(answer, 500)
    assert answer.headers["content-security-policy"]
    assert "ZeroDivisionError" in caplog.text


def test_too_many_jobs_are_refused(client, session, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    go, add = Event(), session.add
    monkeypatch.setattr(session, "add", lambda data: (go.wait(20), add(data))[1])
    with client, ThreadPoolExecutor(12) as pool:
        answers = [pool.submit(client.post, "/api/image", content=png()) for _ in range(12)]
        while sum(answer.done() for answer in answers) < 4:
            go.wait(0.01)
        go.set()
        codes = sorted(answer.result().status_code for answer in answers)
    assert codes == [200] * 8 + [429] * 4


@pytest.mark.parametrize(("views", "count"), [(None, 1), ("crop", 1), ("warp", 1), ("10views", 10)])
def test_the_views_of_a_classifier(views, count, ask, models, session):
    answer = ask("views", CLASSIFIER, views=views)
    assert len(answer["views"]) == count
    expected = models[CLASSIFIER].network.score_views(session.pictures["1"].pixels, views)
    assert torch.allclose(torch.tensor([view["probabilities"] for view in answer["views"]]), expected)
    assert torch.allclose(torch.tensor(answer["probabilities"]), expected.mean(dim=0))
    for view in answer["views"]:
        x1, y1, x2, y2 = view["box"]
        assert -1e-6 <= x1 < x2 <= 1 + 1e-6
        assert -1e-6 <= y1 < y2 <= 1 + 1e-6
    if views == "10views":
        pairs = zip(answer["views"][:5], answer["views"][5:], strict=True)
        assert all(np.allclose([1 - a["box"][2], a["box"][1]], b["box"][:2]) for a, b in pairs)
    if views == "crop":
        assert answer["views"][0]["box"] == pytest.approx([0.125, 0, 0.875, 1])


def test_views_that_are_none(client, image):
    asked = {"image": image["image"], "run": CLASSIFIER, "views": "all"}
    assert "views: " in error_of(client.post("/api/views", json=asked))


def test_hostile_names_reach_the_page_as_harmless_text(client):
    answer = client.get("/api/state")
    assert answer.content.isascii()
    names = answer.json()["runs"][NAMED]["classes"]
    assert names == [HOSTILE[0], r"a\x1b[31m\u202eb", r"half \ud800"]


def test_markup_is_never_made_of_text(static):
    for file in static.glob("*.js"):
        text = file.read_text()
        assert not any(
            word in text for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(")
        )
