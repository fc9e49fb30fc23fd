"""A reward function for TRL: ``trl grpo --reward_funcs service.integrations.trl.remote_reward``, or in code

```python
trainer = GRPOTrainer(model=..., reward_funcs=remote_reward, ...)
```
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from service.integrations.environment import ask
from service.integrations.turns import Turn, plain_turns, without_empty
from service.score_schema import MAX_RESPONSES, Score
from trainer.errors import InvalidInput

Message = Mapping[str, Any]
Text = str | Sequence[Message]
"""TRL's two formats: a text, or a conversation's messages."""

_Pair = tuple[str | list[Turn], str]


def remote_reward(prompts: Sequence[Text], completions: Sequence[Text], **columns: Any) -> list[float | None]:  # noqa: ANN401
    """The scores of ``completions``, in order; None, which TRL leaves out, for one that cannot be scored.

    Of a completion of several turns, as with tools, the last is scored; the others belong to its prompt, which leaves
    out turns without text. Completions of one prompt that follow each other, as GRPO's and RLOO's groups do, are sent
    as one item. The share that has no score is logged as ``assay/unscored`` and the share whose prompt was cut as
    ``assay/truncated``. Of the dataset's ``columns`` nothing is read. Raises InvalidInput for messages that hold more
    than text, and what ``service.integrations.environment.ask`` raises.
    """
    pairs = [_pair(prompt, completion) for prompt, completion in zip(prompts, completions, strict=True)]
    if not pairs:
        return []
    items: list[dict[str, Any]] = []
    for prompt, group in groupby(pairs, key=lambda pair: pair[0]):
        responses = [response for _, response in group]
        for start in range(0, len(responses), MAX_RESPONSES):
            items.append({"prompt": prompt, "responses": responses[start : start + MAX_RESPONSES]})
    cells = [cell for item in ask(list(items)) for cell in item]
    log: Callable[[str, float], None] | None = columns.get("log_metric")
    if log is not None:
        scores = [cell for cell in cells if isinstance(cell, Score)]
        log("assay/unscored", 1 - len(scores) / len(cells))
        log("assay/truncated", sum(score.truncated_tokens > 0 for score in scores) / len(cells))
    return [cell.score if isinstance(cell, Score) else None for cell in cells]


async def remote_reward_async(
    prompts: Sequence[Text],
    completions: Sequence[Text],
    **columns: Any,  # noqa: ANN401
) -> list[float | None]:
    """The same while other asynchronous reward functions run."""
    return await asyncio.to_thread(remote_reward, prompts, completions, **columns)


def _pair(prompt: Text, completion: Text) -> _Pair:
    """Of a completion of several turns, as with tools, the last is scored and the others belong to its prompt.

    Turns without text, as an assistant's that only calls a tool, are left out of the prompt.
    """
    if isinstance(completion, str):
        return (prompt if isinstance(prompt, str) else without_empty(plain_turns(prompt))), completion
    if not completion:
        raise InvalidInput("a completion has no messages")
    before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else plain_turns(prompt)
    *others, last = plain_turns(completion)
    return without_empty([*before, *others]), last["content"]
