"""The tutorial runs as it stands, on fewer images, and its own asserts hold: by hand and by `detect` is the same."""

from pathlib import Path

import matplotlib.pyplot as plt
import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "tutorial.py"


@pytest.fixture
def without_display(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = plt.get_backend()
    plt.switch_backend("agg")
    yield
    plt.close("all")
    plt.switch_backend(before)


@pytest.mark.slow
@pytest.mark.usefixtures("figures", "without_display")
def test_every_step_of_the_tutorial(tmp_path, capsys):
    source = SCRIPT.read_text()
    text = source.replace("TRAINING_IMAGES, TEST_IMAGES = 40, 10", "TRAINING_IMAGES, TEST_IMAGES = 8, 2")
    assert text != source
    exec(compile(text, str(SCRIPT), "exec"), {"__name__": "__main__"})
    pictures = sorted(file.name for file in (tmp_path / "runs/tutorial").glob("*.png"))
    assert [name[0] for name in pictures] == list("12345678")
    said = capsys.readouterr().out
    assert "672 channels x 21 bins = 14112 features" in said
    assert all(f"{mode}: " in said for mode in ("SPPnet", "R-CNN"))
