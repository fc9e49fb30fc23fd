"""Who answers, how long is waited for room, and what becomes of scores that are none."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from evaluation.engine.terms import INTERACTIVE, Priority, Terms
from service.routes.compat import asking, openrlhf
from service.score_schema import ScoreAnswer, ScoreRequest
from service.scoring import ScoringService
from trainer.artifacts import ArtifactStore
from trainer.errors import Overloaded

ClientOver = Callable[..., TestClient]
SAMPLE = {"prompt": "product lamp", "response": "The lamp is red ."}
PAIR = {"queries": SAMPLE["prompt"], "documents": SAMPLE["response"]}


class Crowded(ScoringService):
    """Has no room for those who do not wait, and notes on what terms it is asked."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        super().__init__(artifacts)
        self.terms: list[Terms] = []

    async def score(self, request: ScoreRequest, terms: Terms = INTERACTIVE) -> ScoreAnswer:
        self.terms.append(terms)
        if terms.hold_seconds == 0:
            raise Overloaded("the queue is full")
        return await super().score(request, terms)


def test_the_only_scorer_answers_where_none_is_named(client: TestClient) -> None:
    assert client.post("/score", json=PAIR).json()["model"] == "judge@1"


def test_among_several_one_must_be_named(client_over: ClientOver, published: ArtifactStore) -> None:
    client = client_over(published)

    refused = client.post("/score", json=PAIR)
    assert refused.status_code == 400
    assert "2 scorers are here (family/other, tiny)" in refused.json()["error"]["message"]
    assert client.post("/score", json={**PAIR, "model": "tiny"}).json()["model"] == "tiny@2"
    assert client.post("/score?scorer=tiny@1:score", json={**PAIR, "model": "nobody"}).json()["model"] == "tiny@1:score"


def test_the_operator_may_say_who_answers(client_over: ClientOver, published: ArtifactStore) -> None:
    client = client_over(published, compat_scorer="family/other")

    assert client.post("/score", json=PAIR).json()["model"] == "family/other@1"


def test_among_several_the_champion_answers_and_may_change(client_over: ClientOver, published: ArtifactStore) -> None:
    client = client_over(published)

    for version in (1, 2):
        assert client.put("/v1/aliases/tiny@champion", json={"version": version}).status_code == 200
        assert client.post("/score", json=PAIR).json()["model"] == f"tiny@{version}"
    client.put("/v1/aliases/family/other@champion", json={"version": 1})
    refused = client.post("/score", json=PAIR)
    assert refused.status_code == 400
    assert "2 scorers are here (family/other@champion, tiny@champion)" in refused.json()["error"]["message"]


def test_without_any_scorer_that_is_said(client_over: ClientOver, tmp_path_factory: pytest.TempPathFactory) -> None:
    answer = client_over(ArtifactStore(tmp_path_factory.mktemp("none"))).post("/remote_rm", json=SAMPLE)

    assert answer.status_code == 404
    assert "nothing here can score yet" in answer.json()["error"]


def test_trainers_wait_for_room_and_others_are_told_to_come_again(client_over: ClientOver, lone: ArtifactStore) -> None:
    crowded = Crowded(lone)
    client = client_over(crowded)

    for address, body in (
        ("/get_reward", {"query": ["product lamp red"], "prompts": ["product lamp"]}),
        ("/remote_rm", SAMPLE),
        ("/score", PAIR),
    ):
        assert client.post(address, json=body).status_code == 200
    # less than OpenRLHF's 180 s, slime's 120 s
    assert [terms.hold_seconds for terms in crowded.terms] == [150.0, 100.0, 150.0]
    assert {terms.priority for terms in crowded.terms} == {Priority.TRAINER}
    refused = client.post("/rerank", json={"query": "product lamp", "texts": ["red"]})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json() == {"error": "the queue is full", "error_type": "Overloaded"}


def test_a_line_of_one_serves_a_crowd_of_trainers(client_over: ClientOver, lone: ArtifactStore) -> None:
    from evaluation.engine.scoring import ScoringEngine  # with torch, which is imported late

    client = client_over(ScoringService(lone, lambda store: ScoringEngine(store, max_waiting_pairs=1)))
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: client.post("/remote_rm", json=SAMPLE), range(32)))

    assert {answer.status_code for answer in answers} == {200}


def test_no_overload_is_the_clients_fault_however_long_it_lasts(
    client_over: ClientOver, lone: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openrlhf, "HOLD_SECONDS", 0.0)

    refused = client_over(Crowded(lone)).post(
        "/get_reward", json={"query": ["product lamp red"], "prompts": ["product lamp"]}
    )

    assert refused.status_code == 503
    assert refused.json() == {"error": "the queue is full"}


def test_a_score_that_is_not_finite_never_leaves_as_a_number(
    client_over: ClientOver, lone: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.models.reward_model import RewardModel  # with torch, which is imported late

    real = RewardModel.score

    def not_a_number(self: RewardModel, *arguments: Any, **named: Any) -> Any:
        return real(self, *arguments, **named) * float("nan")

    client = client_over(lone)
    assert client.post("/remote_rm", json=SAMPLE).status_code == 200  # loaded, its probes checked
    monkeypatch.setattr(RewardModel, "score", not_a_number)
    why = "the model gave no finite score for this pair; try another scorer"
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    addresses: dict[str, tuple[Any, int, Any]] = {
        "/remote_rm": (SAMPLE, 422, {"error": why}),
        "/get_reward": ({"query": ["a b"], "prompts": ["a"]}, 422, {"error": f"query.0: {why}"}),
        "/score": (PAIR, 400, of_vllm(f"documents: {why}", "documents")),
        "/classify": ({"messages": chat}, 400, of_vllm(f"messages: {why}", "messages")),
        "/pooling": ({"messages": chat}, 400, of_vllm(f"messages: {why}", "messages")),
        "/predict": ({"inputs": [["a", "b"]]}, 424, {"error": f"inputs.0: {why}", "error_type": "Backend"}),
        "/compat/tei/rerank": (
            {"query": "a", "texts": ["b"]},
            424,
            {"error": f"texts.0: {why}", "error_type": "Backend"},
        ),
        "/v2/rerank": (
            {"query": "a", "documents": ["b"]},
            400,
            {"message": f"documents.0: {why}", "detail": f"documents.0: {why}"},
        ),
    }
    for address, (body, status, words) in addresses.items():
        answer = client.post(address, json=body)
        assert (answer.status_code, answer.json()) == (status, words), address


def of_vllm(message: str, parameter: str) -> dict[str, Any]:
    """A bad request in its words."""
    return {"error": {"message": message, "type": "BadRequestError", "param": parameter, "code": 400}}


def test_without_a_probability_the_unit_interval_is_reached_by_the_sigmoid() -> None:
    from service.score_schema import Score

    score = Score(score=1.0986122886681098, probability=None, tokens=3, truncated_tokens=0)
    assert asking.unit(score) == pytest.approx(0.75)  # sigmoid(ln 3) = 3/4
    assert asking.unit(score.model_copy(update={"probability": 0.2})) == 0.2
