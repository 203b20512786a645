from sppdet.comparison.turns import take_turns


def test_each_contestant_goes_first_in_its_turn() -> None:
    rounds = take_turns("abc", 4)
    assert [(turn, "".join(order)) for turn, order in rounds] == [
        *((-1, "abc"), (0, "abc"), (1, "bca"), (2, "cab"), (3, "abc"))
    ]
    # Without a warm-up every round counts.
    assert [turn for turn, _ in take_turns([1, 2], 3, warmup=0)] == [0, 1, 2]
