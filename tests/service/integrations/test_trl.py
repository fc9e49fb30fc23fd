"""TRL trains with rewards from a server, through its own trainers."""

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest

from service.client import AssayClient
from service.integrations.trl import remote_reward, remote_reward_async
from service.score_schema import Score
from trainer.errors import InvalidInput, NotFound

RESPONSES = ["The lamp is red .", "It is blue .", "the color is red ."]


def scores(server: str, prompt: Any, responses: list[str]) -> list[float]:
    with AssayClient(server) as client:
        answer = client.score_items(["tiny@1"], [{"prompt": prompt, "responses": responses}])
    cells = [row["tiny@1"] for row in answer.items[0].scores]
    return [cell.score for cell in cells if isinstance(cell, Score)]


def test_completions_get_their_scores_in_order_and_none_where_there_is_no_score(server: str) -> None:
    prompts = ["product lamp"] * 3 + ["product mug"]
    logged: dict[str, float] = {}

    rewards = remote_reward(
        prompts, [*RESPONSES[:2], " ", RESPONSES[2]], log_metric=logged.__setitem__, answer=["x"] * 4
    )

    expected = [*scores(server, "product lamp", RESPONSES[:2]), *scores(server, "product mug", RESPONSES[2:])]
    assert rewards[2] is None
    assert [reward for reward in rewards if reward is not None] == pytest.approx(expected, abs=1e-4)
    assert logged == {"assay/unscored": 0.25, "assay/truncated": 0.0}


def test_conversations_are_scored_as_the_texts_they_are(server: str) -> None:
    prompt = [{"role": "user", "content": [{"type": "text", "text": "product lamp"}]}]
    completion = [{"role": "assistant", "content": RESPONSES[0], "tool_calls": None}]

    rewards = remote_reward([prompt], [completion])
    assert rewards == pytest.approx(scores(server, "product lamp", RESPONSES[:1]), abs=1e-4)
    turns = [
        {"role": "assistant", "content": "let me see"},
        {"role": "tool", "content": "red"},
        {"role": "assistant", "content": RESPONSES[0]},
    ]
    before = [{"role": "user", "content": "product lamp"}, *turns[:2]]
    assert remote_reward([prompt], [turns]) == pytest.approx(scores(server, before, RESPONSES[:1]), abs=1e-4)


def test_turns_that_only_call_a_tool_are_left_out_of_the_prompt(server: str) -> None:
    question = [{"role": "user", "content": "product lamp"}]
    call = {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "add"}}]}
    answer = [{"role": "tool", "name": "add", "content": "4"}, {"role": "assistant", "content": RESPONSES[0]}]
    expected = scores(server, [*question, {"role": "tool", "content": "4"}], RESPONSES[:1])

    for empty in (call | {"content": ""}, call | {"content": None}, call | {"content": []}, call):
        assert remote_reward([question], [[empty, *answer]]) == pytest.approx(expected, abs=1e-4)
        assert remote_reward([[*question, empty]], [answer]) == pytest.approx(expected, abs=1e-4)


def test_only_what_is_empty_as_a_whole_has_no_score(server: str) -> None:
    nothing = [{"role": "system", "content": ""}, {"role": "user", "content": " "}]
    something = [*nothing, {"role": "user", "content": "product lamp"}]
    completion = [{"role": "assistant", "content": RESPONSES[0]}]
    ends_in_a_call: list[Any] = [*completion, {"role": "assistant", "content": None, "tool_calls": []}]

    rewards = remote_reward([nothing, something, something], [completion, completion, ends_in_a_call])
    expected = scores(server, something[2:], RESPONSES[:1])
    assert rewards == [None, pytest.approx(expected[0], abs=1e-4), None]


def test_it_may_be_awaited(server: str) -> None:
    rewards = asyncio.run(remote_reward_async(["product lamp"] * 3, RESPONSES))

    assert inspect.iscoroutinefunction(remote_reward_async)
    assert rewards == pytest.approx(scores(server, "product lamp", RESPONSES), abs=1e-4)


def test_the_environment_must_say_who_scores(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert remote_reward([], []) == []
    monkeypatch.setenv("ASSAY_SCORER", "nobody")
    with pytest.raises(NotFound, match="no artifact nobody"):
        remote_reward(["a"], ["b"])
    monkeypatch.setenv("ASSAY_ON_OVERLONG", "cut")
    with pytest.raises(InvalidInput, match="ASSAY_ON_OVERLONG is 'cut'"):
        remote_reward(["a"], ["b"])
    monkeypatch.delenv("ASSAY_SCORER")
    with pytest.raises(InvalidInput, match="set ASSAY_SCORER"):
        remote_reward(["a"], ["b"])
    with pytest.raises(InvalidInput, match="texts only"):
        remote_reward(["a"], [[{"role": "assistant", "content": [{"type": "image"}]}]])


def test_what_does_not_fit_is_cut_only_where_the_environment_says_so(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = "red " * 60
    logged: dict[str, float] = {}

    assert remote_reward([prompt], [RESPONSES[0]]) == [None]
    monkeypatch.setenv("ASSAY_ON_OVERLONG", "truncate_prompt")
    assert remote_reward([prompt], [RESPONSES[0]], log_metric=logged.__setitem__)[0] is not None
    assert logged == {"assay/unscored": 0.0, "assay/truncated": 1.0}


# TRL calls transformers by older names
@pytest.mark.filterwarnings(r"ignore:.(is_)?gradient_checkpointing(_\w+)?. is deprecated:FutureWarning")
@pytest.mark.parametrize("algorithm", ["GRPO", "RLOO"])
@pytest.mark.parametrize("reward", [remote_reward, remote_reward_async])
def test_a_step_of_training_takes_its_rewards_from_the_server(
    server: str, algorithm: str, reward: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    import trl
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM

    from trainer.data.product_world import make_tokenizer

    seen: list[tuple[str, float | None]] = []

    if inspect.iscoroutinefunction(reward):

        async def watched(prompts: Any, completions: Any, **columns: Any) -> list[float | None]:
            rewards: list[float | None] = await reward(prompts, completions, **columns)
            seen.extend(zip(completions, rewards, strict=True))
            return rewards
    else:

        def watched(prompts: Any, completions: Any, **columns: Any) -> list[float | None]:  # type: ignore[misc]
            rewards: list[float | None] = reward(prompts, completions, **columns)
            seen.extend(zip(completions, rewards, strict=True))
            return rewards

    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "policy")
    tokenizer.save_pretrained(tmp_path / "policy")
    settings = getattr(trl, f"{algorithm}Config")(
        output_dir=str(tmp_path),
        max_steps=1,
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=8,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        logging_steps=1,
    )
    trainer = getattr(trl, f"{algorithm}Trainer")(
        model=str(tmp_path / "policy"),
        reward_funcs=watched,
        args=settings,
        train_dataset=Dataset.from_dict({"prompt": ["product lamp", "product mug"] * 4}),
        processing_class=tokenizer,
    )
    trainer.train()

    (logs,) = [logs for logs in trainer.state.log_history if "reward" in logs]
    given = [reward for _, reward in seen if reward is not None]
    assert len(seen) == 4
    assert given
    assert logs["reward"] == pytest.approx(sum(given) / len(given), abs=1e-3)
    assert logs["assay/truncated"] == 0.0
