"""From served texts to trust: the queued audit is run, stored as any other, and read by the watch."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from service.db.ids import new_id
from service.db.monitored import states
from service.db.served import sampled_pairs
from service.db.session import writing
from service.db.tables import Correlation, Job, ServedScore
from service.jobs.kinds import parse_any_recipe
from service.jobs.retention import forget
from service.monitoring.state import ScorerState
from service.monitoring.watch import Watch
from service.settings import Settings
from tests.stored_runs import ingest_run
from trainer.artifacts import ArtifactStore
from trainer.run import run_recipe

NOUNS = ("lamp", "kettle", "keyboard", "mug", "pillow", "router", "sofa", "tent", "umbrella", "watch")
NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
TEXTS = ("the color is red . the size is large .", "the color is red .", "the lamp is nice .")


def test_an_oracle_judges_what_was_served_and_trust_is_its_word(
    settings: Settings, make_session: sessionmaker[Session], published: ArtifactStore, tmp_path: Path
) -> None:
    file = tmp_path / "audit.yaml"
    file.write_text("judges: [{kind: product_world, measure: share}]\nbootstrap: {draws: 100}\n")
    changes = {"monitor_share": 1.0, "monitor_keep": "text", "monitor_audit_hours": 1.0, "monitor_audit_recipe": file}
    with writing(make_session) as session:
        for number in [*range(30), *range(6)]:  # six pairs were asked for twice
            asked = f"product {NOUNS[number // 3]} | color red ; size {('large', 'small')[number // 3 % 2]}"
            session.add(
                ServedScore(
                    **{"id": new_id("srv"), "time": NOW - timedelta(minutes=40), "scorer": "tiny@1:score"},
                    **{"prompt": asked},
                    **{"response": TEXTS[number % 3], "prompt_digest": f"p{number // 3}"},
                    **{"response_digest": f"r{number % 3}", "response_characters": 9, "score": 0.0},
                    **{"tokens": 9, "truncated_tokens": 0},
                )
            )
    watching = Watch(settings.model_copy(update=changes), make_session, parse_any_recipe)
    watching.look(NOW)
    with make_session() as session:
        [job] = session.scalars(select(Job))

    run_recipe(parse_any_recipe(job.recipe), settings.runs_dir / job.id, published, quiet=True)
    with writing(make_session) as session:
        ingest_run(session, job.id, settings.runs_dir / job.id)
    watching.look(NOW)

    with make_session() as session:
        [state] = [ScorerState.model_validate(each) for each in states(session)]
        versions = set(session.scalars(select(Correlation.scorer_version).where(Correlation.scorer == state.scorer)))
    [trust] = state.trust
    assert (state.scorer, trust.oracle, trust.statistic) == ("tiny@1:score", "product_world:share", "pearson_pooled")
    assert (trust.latest.run, trust.latest.n_responses, trust.latest.n_prompts) == (job.id, 30, 10)
    assert trust.latest.lower is not None
    assert versions == {1}

    with writing(make_session) as session:
        done = session.get_one(Job, job.id)
        done.status, done.finished_at = "succeeded", datetime.now(UTC) - timedelta(minutes=1)
    days = (datetime.now(UTC) - datetime(2026, 5, 4, 11, tzinfo=UTC)) / timedelta(days=1)  # of the first of its texts
    forget(make_session, settings.model_copy(update={"monitor_keep_days": days + 0.1}))
    assert (settings.runs_dir / job.id).is_dir()
    assert Path(job.recipe["path"]).is_file()
    forget(make_session, settings.model_copy(update={"monitor_keep_days": days - 0.1}))
    assert not (settings.runs_dir / job.id).exists()
    assert not Path(job.recipe["path"]).exists(), "it goes with the texts that it was made of"
    with make_session() as session:
        assert session.scalars(select(ServedScore)).all() == []
        assert session.scalars(select(Correlation)).first() is not None, "what it measured stays"


def test_the_judged_are_a_sample_of_the_whole_period_and_not_its_end(
    make_session: sessionmaker[Session], keep: Callable[..., None]
) -> None:
    def drawn(since: datetime) -> list[str]:
        with make_session() as session:
            pairs = sampled_pairs(session, "rm@3:score", since=since, before=NOW + timedelta(hours=1), most=20)
            return [each["response"] for each in pairs]

    keep(100, at=NOW, texts=True)
    found = drawn(NOW)
    numbers = [int(response.removeprefix("response ")) for response in found]
    assert len(set(numbers)) == 20
    assert min(numbers) < 50 <= max(numbers)
    assert drawn(NOW) == found, "by every server alike"
    assert drawn(NOW - timedelta(hours=1)) != found, "and otherwise in another period"


def test_one_pair_that_is_asked_for_all_the_time_pushes_no_other_out(
    make_session: sessionmaker[Session], keep: Callable[..., None]
) -> None:
    for _ in range(30):
        keep(1, at=NOW, texts=True)
    keep(40, at=NOW, texts=True)
    with make_session() as session:
        pairs = list(sampled_pairs(session, "rm@3:score", since=NOW, before=NOW + timedelta(hours=1), most=50))
    assert len({each["response"] for each in pairs}) == len(pairs) == 40
