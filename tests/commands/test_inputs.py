from sppdet.commands.inputs import data_of_run
from sppdet.config.data import DataConfig
from sppdet.files.atomic import write_json


def test_the_data_of_a_run_are_its_own_except_the_keys_that_name_images(tmp_path):
    write_json(tmp_path / "config.json", {"data": {"root": "voc", "year": "2007", "max_images": 5, "classes": ["cat"]}})
    assert data_of_run(tmp_path, DataConfig(split="test")) == DataConfig("voc", "test", year="2007", classes=["cat"])
    assert data_of_run(tmp_path, DataConfig(split="test", year="2012")).year == "2012"
    other = DataConfig("elsewhere", "test")
    assert data_of_run(tmp_path, other) == other
