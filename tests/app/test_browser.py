"""The page in a real browser: chromium, driven by playwright. Skipped where either is missing."""

import asyncio
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from accessibility import serious_findings
from app_parts import CLASSIFIER, NAMED, SPP, TOKEN, make_models, png

from sppdet.app.server import create_app
from sppdet.app.session import Session

pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api")
uvicorn = pytest.importorskip("uvicorn")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if not CHROMIUM:
    pytest.skip("chromium is not installed", allow_module_level=True)

EXPECTED = "the server responded with a status of 4"  # which chromium logs of every answer to wrong input


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(make_models())


@pytest.fixture(scope="module")
def address(session) -> Iterator[str]:
    """A server on a thread of its own."""
    with socket.socket() as connection:
        connection.bind(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(session, TOKEN), log_level="warning", ws="none", lifespan="off")
        server = uvicorn.Server(config)
        thread = Thread(target=lambda: asyncio.run(server.serve([connection])))
        thread.start()
        yield f"http://127.0.0.1:{connection.getsockname()[1]}/?token={TOKEN}"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address) -> Iterator[Callable[..., Any]]:
    """Open the page; at the end nothing was said on the console and nothing asked of others."""
    said: list[str] = []
    contexts = []

    def visit(**options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: message.type == "error" and said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(f"dialog {dialog.message}"))
        home = (address.partition("?")[0], "blob:", "data:")
        page.on("request", lambda request: request.url.startswith(home) or said.append(f"asked {request.url}"))
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert [text for text in said if EXPECTED not in text] == []


def wait_until_shown(page: Any, act: Callable[[], object]) -> None:
    """Do something after which another picture, or another run's result, is shown."""
    before = page.evaluate("document.body.dataset.shown ?? ''")
    act()
    page.wait_for_function("before => (document.body.dataset.shown ?? '') !== before", arg=before)


def upload(page: Any, data: bytes, name: str = "image.png") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": data})


def drop(page: Any, data: bytes) -> None:
    """Drop a file on the page."""
    script = """bytes => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
        const options = { bubbles: true, cancelable: true, dataTransfer: transfer };
        document.querySelector("#drop").dispatchEvent(new DragEvent("drop", options));
    }"""
    page.evaluate(script, list(data))


def slide(page: Any, name: str, value: float) -> None:
    page.evaluate("([name, value]) => { const one = document.getElementById(name); one.value = value; "
                  "one.dispatchEvent(new Event('input')); }", [name, value])  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_everybody_can_use_it(visit, width, scheme):
    page = visit(viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert serious_findings(page) == []
    wait_until_shown(page, lambda: drop(page, png()))
    assert serious_findings(page) == []


def test_sliders_select_what_the_detector_selects_without_a_request(visit, session):
    page = visit()
    wait_until_shown(page, lambda: drop(page, png()))
    detector = session.models[SPP].network
    everything = detector.detect(next(reversed(session.pictures.values())).pixels)
    assert page.locator("#list li").count() == len(everything.above(detector.thresholds))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for bound in (0.0, 0.4, 0.7):
        slide(page, "score", bound)
        expected = detector.probabilities(everything)
        expected = expected[expected.scores >= torch.tensor(bound)]
        assert page.locator("#count").inner_text().startswith(f"{len(expected)} detection")
    slide(page, "nms", 0.0)
    fewer = page.locator("#list li").count()
    slide(page, "nms", 1.0)
    assert page.locator("#list li").count() > fewer
    slide(page, "vote", 1.0)
    slide(page, "proposals", 40)
    assert asked == []
    assert float(page.evaluate("document.body.dataset.redraw")) < 1000


def test_a_box_is_clicked_and_drawn_by_mouse_and_by_keyboard(visit):
    page = visit()
    wait_until_shown(page, lambda: upload(page, png()))
    slide(page, "score", 0.0)
    page.locator("#list li button").first.click()
    page.wait_for_selector("#evidence .figures")
    assert page.get_attribute("#tab-evidence", "aria-selected") == "true"
    place = page.locator("#canvas").bounding_box()

    def sum_after(act: Callable[[], object]) -> str:
        before = page.inner_text("#evidence .sum")
        act()
        page.wait_for_function("before => document.querySelector('#evidence .sum')?.innerText !== before", arg=before)
        return page.inner_text("#evidence .sum")

    def draw() -> None:
        page.mouse.move(place["x"] + 20, place["y"] + 20)
        page.mouse.down()
        page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2, steps=3)
        page.mouse.up()

    def draw_with_keys() -> None:
        page.focus("#canvas")
        for key in ("b", "ArrowRight", "ArrowDown", "Shift+ArrowLeft", "Enter"):
            page.keyboard.press(key)

    assert sum_after(draw) != sum_after(draw_with_keys)
    other = page.locator("#evidence .bars button:not([aria-current])").first
    name = other.locator(".name").inner_text()
    sum_after(other.click)
    assert page.inner_text("#evidence h2").startswith(name)


def test_the_hierarchy_is_walked_up_and_down(visit):
    page = visit()
    wait_until_shown(page, lambda: upload(page, png()))
    page.click("#tab-tree")
    page.click("#canvas")
    page.wait_for_selector("#tree .walk")
    first = page.inner_text("#tree h2")
    page.click("text=merged into")
    assert page.inner_text("#tree h2") != first
    page.focus("#canvas")
    for _ in range(60):
        page.keyboard.press("ArrowUp")
    assert "0 merges below" in page.inner_text("#tree .content")
    page.keyboard.press("ArrowDown")
    assert "1 merges below" in page.inner_text("#tree .content")
    page.click("text=Evidence for this box")
    page.wait_for_selector("#evidence .figures")
    region = page.text_content("#tree h2")
    page.click("#tab-tree")
    assert page.inner_text("#tree h2") == region


def test_the_box_that_was_picked_stays_when_the_tab_changes(visit):
    page = visit()
    wait_until_shown(page, lambda: upload(page, png()))
    page.click("#canvas")
    page.wait_for_selector("#evidence .figures")
    page.click("#tab-tree")
    page.wait_for_selector("#tree .walk")
    wait_until_shown(page, lambda: upload(page, png()))
    page.click("#tab-tree")
    assert page.is_visible("#tree .hint")


def test_the_race_is_run(visit):
    page = visit()
    wait_until_shown(page, lambda: upload(page, png()))
    page.click("#tab-race")
    slide(page, "regions", 0)
    page.click("#start")
    page.wait_for_selector("#race .verdict")
    assert page.locator("#race .lane").count() == 2
    assert "R-CNN takes" in page.inner_text("#race .verdict")


def test_errors_are_said_and_the_page_goes_on(visit, tmp_path):
    page = visit()
    upload(page, b"this is no image", "<b>text</b>.png")
    page.wait_for_selector("#error:not([hidden])")
    assert page.inner_text("#error") == "<b>text</b>.png: the image: cannot be decoded: cannot identify image file"
    large: Path = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate((64 << 20) + 1)
    page.set_input_files("#file", large)
    page.wait_for_function("() => document.querySelector('#error').innerText.includes('too large')")
    wait_until_shown(page, lambda: upload(page, png()))
    assert page.is_hidden("#error")


def test_a_picture_of_the_data_a_classifier_and_hostile_names(visit):
    page = visit()
    page.select_option("#split", "val")
    page.wait_for_selector("#error:not([hidden]), body[data-shown]")
    wait_until_shown(page, lambda: page.click("#next"))
    assert page.inner_text("#name") == "of 3: <1>"
    page.check("#truth")
    wait_until_shown(page, lambda: page.select_option("#run", str(CLASSIFIER)))
    assert page.locator("#classifier .rows li").count() == 1
    page.select_option("#views", "10views")
    page.wait_for_function("() => document.querySelectorAll('#classifier .rows li').length === 10")
    wait_until_shown(page, lambda: page.select_option("#run", str(NAMED)))
    slide(page, "score", -1.5)
    assert "<img src=x onerror=alert(1)>" in page.inner_text("#list")
    assert page.locator("#list img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_nothing_is_wider_than_the_screen(width, scheme, visit):
    page = visit(viewport={"width": width, "height": 844}, color_scheme=scheme)
    wait_until_shown(page, lambda: upload(page, png(40, 160)))
    for tab in ("evidence", "tree", "race", "detections"):
        page.click(f"#tab-{tab}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
