"""The trivial controls as scorers of stored responses."""

from collections.abc import Sequence

from evaluation.scorers.controls import CONTROLS, Response
from evaluation.scorers.scorer import Column, Judgement, Scorer, StoredResponse, missing
from trainer.data.text import as_text

_UNDEFINED = {
    "mean_logprob": "mean_logprob needs the log-probabilities of the policy, which its server did not give",
    "truncated": "truncated needs to know why the response ended, which its server did not say",
}


class TrivialScorers(Scorer):
    """Every control as a column: what a learned scorer has to beat on the same responses."""

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(Column(name, None, "control") for name in CONTROLS)

    def judge(self, responses: Sequence[StoredResponse]) -> list[tuple[Judgement, ...]]:
        return [_judge(response) for response in responses]


def _judge(stored: StoredResponse) -> tuple[Judgement, ...]:
    row = Response(
        prompt=as_text(stored.prompt),
        response=stored.response,
        tokens=stored.tokens,
        mean_logprob=stored.mean_logprob,
        finish_reason=stored.finish_reason,
    )
    scores = {name: control(row) for name, control in CONTROLS.items()}
    return tuple(
        missing("undefined", _UNDEFINED.get(name, f"{name} is undefined for this response"))
        if score is None
        else Judgement(score)
        for name, score in scores.items()
    )
