"""Prompts come from a file whose problems are named by line, or from the product world."""

import json
from pathlib import Path

import pytest

from evaluation.recipes.prompts import FilePrompts, ProductWorldPrompts, settle_prompts
from trainer.data.product_world import Task, render_prompt
from trainer.errors import InvalidInput


def written(directory: Path, *lines: str) -> str:
    path = directory / "prompts.in.jsonl"
    path.write_text("".join(line + "\n" for line in lines))
    return str(path)


def test_rows_are_called_by_their_id_or_else_by_their_place(tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    path = written(
        tmp_path, '{"prompt": "a", "other": 1}', json.dumps({"prompt": chat, "prompt_id": 7}), '{"prompt": "c"}'
    )

    found = FilePrompts(path=path).read()

    assert [(each.prompt_id, each.prompt) for each in found] == [("0", "a"), ("7", chat), ("2", "c")]
    assert len(FilePrompts(path=path, limit=2).read()) == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"prompt": " "}', "line 2, prompt: the prompt is empty"),
        ('{"prompt": []}', "line 2, prompt: the prompt has no messages"),
        ('{"prompt": 3}', "line 2, prompt: expected text"),
        ('{"text": "a"}', "line 2, prompt: expected text"),
        ('{"prompt": [{"role": "user"}]}', "line 2, prompt: each message needs"),
        ('{"prompt": "a", "prompt_id": "0"}', "line 2: prompt_id '0' is there twice"),
        ('{"prompt": "a", "prompt_id": [1]}', "line 2, prompt: prompt_id must be"),
        ('{"prompt": "a", "task": 1}', "line 2, prompt: task must be an object"),
        ("not json", "line 2: not JSON"),
        ("[1]", "line 2: expected an object"),
    ],
)
def test_a_row_that_is_no_prompt_is_named(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        FilePrompts(path=written(tmp_path, '{"prompt": "first"}', line)).read()


def test_a_file_that_is_empty_absent_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has no prompts"):
        FilePrompts(path=written(tmp_path, "")).read()
    with pytest.raises(InvalidInput, match="no such file"):
        FilePrompts(path=str(tmp_path / "absent")).read()
    (tmp_path / "latin.jsonl").write_bytes(b'{"prompt": "caf\xe9"}\n')
    with pytest.raises(InvalidInput, match="line 1: not UTF-8"):
        FilePrompts(path=str(tmp_path / "latin.jsonl")).read()


def test_the_product_world_gives_prompts_with_the_tasks_they_render() -> None:
    found = ProductWorldPrompts(kind="product_world", limit=5).read()

    assert len({each.prompt_id for each in found}) == 5
    assert all(each.prompt == render_prompt(Task.from_json(each.task or {})) for each in found)


def test_a_run_that_continues_keeps_the_prompts_it_began_with(tmp_path: Path) -> None:
    stored = tmp_path / "prompts.jsonl"
    first = settle_prompts(FilePrompts(path=written(tmp_path, '{"prompt": "é"}')), stored)

    assert settle_prompts(FilePrompts(path=written(tmp_path, '{"prompt": "changed"}')), stored) == first
