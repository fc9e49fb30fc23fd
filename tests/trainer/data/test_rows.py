"""What preferences contrast is told from the rows."""

from trainer.data.rows import Pair, Preference, contrasts

ROW = Preference(Pair("p", "good"), Pair("p", "bad"))
PREFERENTIAL_PROMPT = Preference(Pair("p", "r"), Pair("other p", "r"))
UNPAIRED = Preference(Pair("p", "good"), None)


def test_rows_contrast_what_their_sides_do_not_share() -> None:
    assert contrasts([ROW, ROW]) == ["responses"]
    assert contrasts([PREFERENTIAL_PROMPT]) == ["prompts"]
    assert contrasts([ROW, PREFERENTIAL_PROMPT]) == ["prompts", "responses"]
    assert contrasts([UNPAIRED]) == []
