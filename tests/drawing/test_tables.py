from sppdet.drawing.tables import align


def test_columns_are_as_wide_as_their_widest_cell():
    assert align([["name", "a", ""], ["longer name", "10.5", "-"]]) == "name            a\nlonger name  10.5  -"
