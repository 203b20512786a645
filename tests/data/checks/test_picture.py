import numpy as np
import pytest
from data_sets import write_files, write_voc
from factories import read_png

from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.data.checks.check import check_data
from sppdet.data.checks.picture import CELLS, heat_map, plot_check

pytestmark = pytest.mark.usefixtures("figures")


def test_a_heat_map_gives_the_fraction_of_boxes_over_each_cell():
    boxes = np.array([[0, 0, 100, 100], [50, 0, 100, 50], [0.0, 90, 200, 100]])
    heat = heat_map(boxes, np.array([[100, 100], [100, 100], [200, 100]], float))
    assert heat.shape == (CELLS, CELLS)
    half = CELLS // 2
    assert heat[0, 0] == pytest.approx(1 / 3)
    assert heat[0, -1] == heat[half - 1, half] == heat[-1, 0] == heat[-1, -1] == pytest.approx(2 / 3)
    assert heat[half, half] == pytest.approx(1 / 3)
    assert heat_map(np.zeros((0, 4)), np.zeros((0, 2))).sum() == 0


@pytest.mark.parametrize("names", ["abcdef", "c"])
def test_a_picture_is_drawn_of_any_data(tmp_path, names):
    root = write_voc(tmp_path) if names == "abcdef" else write_files(tmp_path, "", "", "xml", names)
    plot_check(check_data(DataConfig(root=str(root)), ProposalConfig()), tmp_path / "check.png")
    assert read_png(tmp_path / "check.png").std() > 10
