"""What axe-core finds on a page in a browser."""

from importlib import resources
from typing import Any

import pytest


def serious_findings(page: Any) -> list[str]:
    """Return rule and first element of each serious or critical finding; skip if axe-core is not installed."""
    pytest.importorskip("axe_playwright_python")
    page.evaluate((resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert len(found["passes"]) > 10  # it has looked
    return [
        f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
