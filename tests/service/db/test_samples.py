"""A sample of a run's responses is always the same, and has all their scores."""

from collections.abc import Callable

from sqlalchemy.orm import Session, sessionmaker

from service.db.samples import thinned_scores
from service.evidence import responses_of


def test_of_many_responses_those_are_taken_whose_multiple_of_the_golden_ratio_is_small(
    make_session: sessionmaker[Session], store_run: Callable[..., str]
) -> None:
    run = store_run()
    with make_session() as session:
        found = thinned_scores(session, run, per_temperature=2)
    # of T = 1.5 numbers 2, 3, 5 and 6: the fractions of n / 1.618... are .24, .85, .09 and .71, and half are wanted
    assert [(each.prompt_id, each.temperature, each.replicate) for each in found.responses] == [
        ("p0", 0.0, 0),
        ("p0", 1.5, 0),
        ("p1", 0.0, 0),
        ("p1", 1.5, 0),
    ]
    assert found.n_total == 6
    assert {(place, name) for place, name, *_ in found.scores} == {
        (place, name) for place in range(4) for name in ("helpful", "judge")
    }


def test_columns_hold_what_each_scorer_said_and_a_gap_where_it_said_nothing(
    make_session: sessionmaker[Session], store_run: Callable[..., str]
) -> None:
    run = store_run()
    with make_session() as session:
        found = responses_of(thinned_scores(session, run, per_temperature=100))
    assert found is not None
    assert (list(found.scores), list(found.judgements), found.n_total) == (["helpful"], ["judge"], 6)
    assert found.temperature.tolist() == [0, 1.5, 1.5, 0, 1.5, 1.5]
    # `helpful` could not score the last response, whose text has broken characters
    assert [str(value) == "nan" for value in found.scores["helpful"]] == [False] * 5 + [True]
    assert found.degenerate.tolist() == [False] * 5 + [True]


def test_a_run_without_responses_has_none(make_session: sessionmaker[Session], add_job: Callable[..., str]) -> None:
    run = add_job("audit")
    with make_session() as session:
        found = thinned_scores(session, run, per_temperature=5)
    assert (found.responses, found.scores, found.n_total, responses_of(found)) == ([], [], 0, None)
