"""The page in a browser, from its file."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from accessibility import serious_findings
from report_pages import small_data, small_run

from sppdet.report import figures
from sppdet.report.data import ReportData
from sppdet.report.page import write_report

CHROMIUM = shutil.which("chromium")
NAMES = ("cat</script><img src=x onerror=alert(1)>", "W" * 200)
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    dataset = small_data(folder / "images", NAMES, NAMES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "PANELS", 1)
        runs = [small_run(dataset, name=name, readme="x" * 500) for name in NAMES]
        write_report(ReportData(runs, dataset), folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def open_page(browser, file: Path, width: int = 1280, scheme: str = "light", **options):
    """The page, and what it says on the console or asks for."""
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith("data:") else None)
    page.goto(file.as_uri())
    return page, said


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_it_fits_and_asks_for_nothing(browser, file, width, scheme):
    page, said = open_page(browser, file, width, scheme)
    assert said == [file.as_uri()]
    assert page.evaluate(OVERFLOW) <= 0
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert (ink == "rgb(228, 231, 234)") == (scheme == "dark")
    assert serious_findings(page) == []
    page.context.close()


def test_filters_and_threshold(browser, file):
    page, said = open_page(browser, file)
    cards = page.locator("#cards .card:visible")
    everything = cards.count()
    page.select_option("#filter-run", "0")
    assert cards.count() == everything / 2
    page.select_option("#filter-kind", "hit")
    assert cards.count() == 2
    page.fill("#filter-low", "0.6")
    assert cards.count() == 1
    assert page.inner_text("#shown") == "1 of 1 pictures"
    missed = page.locator('.layer[data-run="0"] .truth.missed')
    before = missed.count()
    slider = page.locator('.threshold[data-run="0"]')
    slider.fill("0.95")
    assert missed.count() == before + 2  # the hits
    assert page.locator('.layer[data-run="1"] .truth.missed').count() == before
    slider.fill("0")
    assert missed.count() == before
    page.click("#reset")
    assert (cards.count(), missed.count()) == (everything, before)
    assert said == [file.as_uri()]
    page.context.close()


def test_keyboard_enlarges_a_card(browser, file):
    page, _ = open_page(browser, file)
    page.locator("#cards .zoom").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#cards .card.large").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("#cards .card.large").count() == 0
    page.context.close()


def test_it_can_be_read_without_its_script(browser, file):
    page, said = open_page(browser, file, java_script_enabled=False)
    assert page.locator("#cards .card:visible").count() > 0
    assert not page.locator("#filters").is_visible()
    assert said == [file.as_uri()]
    page.context.close()
