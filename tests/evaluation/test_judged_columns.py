from collections.abc import Sequence

from evaluation.engine.pairs import Pair
from evaluation.judged import JudgedRow
from evaluation.judged_columns import JudgedColumns
from trainer.errors import AssayError


def test_rows_are_told_of_once_they_are_scored() -> None:
    seen: list[str] = []

    def score(names: Sequence[str], pairs: Sequence[Pair]) -> dict[str, list[float | AssayError]]:
        seen.append(f"scored {len(pairs)}")
        return {name: [0.5] * len(pairs) for name in names}

    rows = [JudgedRow(prompt_id=i, prompt="p", response="r", oracles={"judge": 1.0}) for i in range(300)]
    columns = JudgedColumns(["rm"], controls=(), cluster=None, score=score)
    columns.read(enumerate(rows), lambda done: seen.append(f"told {done}"))
    assert seen == ["scored 256", "told 256", "scored 44", "told 300"]
