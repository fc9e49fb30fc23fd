"""Verifiable instructions are checked by lm-eval's own checker: alike every time, and corrected for its floor."""

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from evaluation.engine.scoring import ScoringEngine
from evaluation.oracles.ifeval import IFEvalOracle
from evaluation.oracles.oracle import Asked
from evaluation.recipes.prompts import FilePrompts
from evaluation.scorers.scorer import Scorer, StoredResponse
from trainer.errors import InvalidInput
from trainer.generation.sampled import Cell

COLUMNS = ["ifeval:prompt_strict", "ifeval:instruction_strict", "ifeval:prompt_loose", "ifeval:instruction_loose"]
ROWS: list[dict[str, Any]] = [
    {
        "key": 1000,
        "prompt": "Describe a lamp without commas and wrap it in quotation marks.",
        "instruction_id_list": ["punctuation:no_comma", "startend:quotation"],
        "kwargs": [{}, {}],
    },
    {
        "key": 1001,
        "prompt": "Describe a mug in lower case, with the word steam.",
        "instruction_id_list": ["change_case:english_lowercase", "keywords:existence"],
        "kwargs": [{}, {"keywords": ["steam"], "num_words": None}],
    },
]


def asked(row: dict[str, Any]) -> Asked:
    task = {name: row[name] for name in ("instruction_id_list", "kwargs")}
    return Asked(str(row["key"]), row["prompt"], task)


def open_checker(engine: ScoringEngine, rows: list[dict[str, Any]], **settings: Any) -> Scorer:
    return IFEvalOracle(**settings).open(engine, [asked(row) for row in rows], {}, Path())


@pytest.fixture(scope="module")
def checker(engine: ScoringEngine) -> Scorer:
    pytest.importorskip("lm_eval", reason="pip install '.[ifeval]' to check instructions")
    return open_checker(engine, ROWS)


def stored(key: int, response: str) -> StoredResponse:
    prompt = next(row["prompt"] for row in ROWS if row["key"] == key)
    return StoredResponse(Cell(str(key), 1.0, 0), prompt, response, tokens=5, finish_reason="stop", mean_logprob=-1.0)


def scores(checker: Scorer, key: int, response: str) -> list[float | None]:
    (row,) = checker.judge([stored(key, response)])
    return [judgement.score for judgement in row]


@pytest.mark.parametrize(
    ("key", "response", "expected"),
    [
        (1000, '"A tall lamp"', [1, 1, 1, 1]),
        (1000, '"A tall, red lamp"', [0, 0.5, 0, 0.5]),  # a comma
        (1000, 'Sure!\n"A tall lamp"', [0, 0.5, 1, 1]),  # loose forgives the first line
        (1000, "", [0, 0, 0, 0]),
        (1001, "a mug that keeps the steam of the coffee in the morning", [1, 1, 1, 1]),
        (1001, "A mug that keeps the STEAM of the coffee in the morning", [0, 0.5, 0, 0.5]),
        (1001, "a mug that keeps the warmth of the coffee in the morning", [0, 0.5, 0, 0.5]),
    ],
)
def test_prompts_and_instructions_are_told_strictly_and_loosely(
    checker: Scorer, key: int, response: str, expected: list[float]
) -> None:
    assert [column.scorer for column in checker.columns] == COLUMNS
    assert scores(checker, key, response) == expected


def test_a_judgement_is_the_same_every_time_and_leaves_the_callers_random_numbers_alone(checker: Scorer) -> None:
    """langdetect looks at randomly drawn letters: without a seed it changes its mind about short texts."""
    random.seed(5)
    expected = random.Random(5).random()
    found = {tuple(scores(checker, 1001, "der mug has a steam and lid so gut")) for _ in range(25)}

    assert len(found) == 1
    assert random.random() == expected


def test_an_argument_that_a_row_leaves_out_is_drawn_alike_every_time(engine: ScoringEngine) -> None:
    pytest.importorskip("lm_eval", reason="pip install '.[ifeval]' to check instructions")
    row = {**ROWS[0], "instruction_id_list": ["detectable_format:number_bullet_lists"], "kwargs": [{}]}
    bullets = "\n".join("* point" for _ in range(4))
    found = {tuple(scores(open_checker(engine, [row]), 1000, bullets)) for _ in range(8)}

    assert len(found) == 1


def test_the_floor_is_what_random_characters_reach(engine: ScoringEngine) -> None:
    """Of 400 characters of 100 kinds 98 % hold a comma; no one holds a word; both are known without the checker."""
    pytest.importorskip("lm_eval", reason="pip install '.[ifeval]' to check instructions")
    commas = {**ROWS[0], "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    word = {**ROWS[1], "instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": ["steam"]}]}
    exists = {
        **ROWS[1],
        "instruction_id_list": ["keywords:forbidden_words"],
        "kwargs": [{"forbidden_words": ["steam"]}],
    }

    floors = [
        open_checker(engine, [row], measures=["prompt_strict"]).columns[0].floor for row in (commas, word, exists)
    ]

    assert floors[0] == pytest.approx(0.99**400, abs=0.01)  # 0.018
    assert floors[1:] == [0.0, 1.0]


def test_a_million_characters_and_odd_ones_are_judged(checker: Scorer) -> None:
    assert scores(checker, 1000, '"' + "lamp " * 200_000 + '"') == [1, 1, 1, 1]
    assert scores(checker, 1001, "steam \ud800 \x00 \N{SNOWMAN}")[3] is not None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"instruction_id_list": ["punctuation:no_such"], "kwargs": [{}]}, "no instruction 'punctuation:no_such'"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": [{"nonsense": 1}]}, "do not fit"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": []}, "one for each"),
        ({"instruction_id_list": [], "kwargs": []}, "needs instruction_id_list"),
        ({"instruction_id_list": None, "kwargs": None}, "needs instruction_id_list"),
    ],
)
def test_instructions_that_cannot_be_checked_are_refused_beforehand(
    engine: ScoringEngine, change: dict[str, Any], words: str
) -> None:
    pytest.importorskip("lm_eval", reason="pip install '.[ifeval]' to check instructions")
    with pytest.raises(InvalidInput, match=words):
        open_checker(engine, [{**ROWS[0], **change}])


def test_sentences_need_data_that_is_asked_for_by_name_and_read_from_a_directory(
    engine: ScoringEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lm_eval", reason="pip install '.[ifeval]' to check instructions")
    import nltk

    row = {
        **ROWS[0],
        "instruction_id_list": ["length_constraints:number_sentences"],
        "kwargs": [{"num_sentences": 3, "relation": "at least"}],
    }
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    with pytest.raises(InvalidInput, match=r"python -m nltk\.downloader punkt_tab"):
        open_checker(engine, [row])
    data = tmp_path / "tokenizers" / "punkt_tab" / "english"
    data.mkdir(parents=True)
    for name in ("abbrev_types.txt", "collocations.tab", "ortho_context.tab", "sent_starters.txt"):
        (data / name).write_text("")

    checker = open_checker(engine, [row])

    assert scores(checker, 1000, "It is red. It is tall. It is bright.")[0] == 1.0
    assert scores(checker, 1000, "It is red. It is tall.")[0] == 0.0


def test_without_lm_eval_it_is_said_what_to_install(engine: ScoringEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langdetect", None)

    with pytest.raises(InvalidInput, match=r"pip install 'reward-assay\[ifeval\]'"):
        open_checker(engine, ROWS)


def test_rows_of_ifeval_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "ifeval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))

    assert FilePrompts(path=str(tmp_path / "ifeval.jsonl")).read() == [asked(row) for row in ROWS]
