"""A reward function for veRL:

```
custom_reward_function.path=pkg://service.integrations.verl custom_reward_function.name=compute_score
```
"""

from typing import Any

from service.integrations.environment import ask
from service.integrations.turns import Turn, plain_turns, without_empty
from service.score_schema import Score
from trainer.errors import InvalidInput, error_of

PROMPT_KEYS = ("prompt", "raw_prompt", "question")


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,  # noqa: ANN401
    extra_info: dict[str, Any] | None = None,
    *,
    prompt_key: str | None = None,
    unscored: float | None = None,
    **more: Any,  # noqa: ANN401
) -> float:
    """The score of ``solution_str``, whose prompt is in ``extra_info``: veRL passes it nowhere else.

    It is looked for under ``prompt``, ``raw_prompt`` and ``question`` unless ``prompt_key`` is given, and is a text or
    a list of messages, of which those without text are left out. ``unscored`` is the reward of a response that cannot
    be scored, as an empty one; without it such a response is an error. Both may be set by
    ``custom_reward_function.reward_kwargs``. Threads that ask at about the same time share a request. Raises
    InvalidInput where there is no prompt or one that holds more than text, and what
    ``service.integrations.environment.ask`` raises.
    """
    ((cell,),) = ask([{"prompt": _prompt(extra_info or {}, prompt_key), "response": solution_str}])
    if isinstance(cell, Score):
        return cell.score
    if unscored is not None:
        return unscored
    raise error_of(cell.error.code, f"{cell.error.detail} (set reward_kwargs.unscored to a reward for such responses)")


def _prompt(extra_info: dict[str, Any], prompt_key: str | None) -> str | list[Turn]:
    for key in (prompt_key,) if prompt_key else PROMPT_KEYS:
        found = extra_info.get(key)
        if isinstance(found, str):
            return found
        if found is not None:  # a list, or the array that a parquet file makes of one
            return without_empty(plain_turns(found))
    raise InvalidInput(
        f"extra_info holds no {prompt_key or ', '.join(PROMPT_KEYS)}: write each row's prompt there when the data set"
        " is made, or name its key with reward_kwargs.prompt_key"
    )
