"""The benchmark's database is one that runs could have left: every key leads somewhere, every run has its numbers."""

from pathlib import Path

from sqlalchemy import text

from benchmarks.history_database import CORRELATIONS_EACH, SCORERS_EACH, Size, database
from service.db.history import rows_page
from service.db.history_filter import HistoryFilter
from service.db.session import make_engine, sessions


def test_a_small_one_holds_together_and_is_made_once(tmp_path: Path) -> None:
    size = Size(correlations=2 * CORRELATIONS_EACH, scores=2 * SCORERS_EACH * 150)
    for _ in range(2):
        with database("SQLite", tmp_path, size) as (url, _):
            engine = make_engine(url)
            with sessions(engine)() as session:
                tables = ("jobs", "correlations", "responses", "scores")
                counts = [session.scalar(text(f"SELECT count(*) FROM {name}")) for name in tables]
                assert counts == [2, 2 * CORRELATIONS_EACH, 300, 300 * SCORERS_EACH]
                assert session.execute(text("PRAGMA foreign_key_check")).all() == []
                within = HistoryFilter(values={"statistic": ["pearson_within"], "temperature": [0.0]})
                assert {row.estimate for row in rows_page(session, within, limit=500).data} == {None}
            engine.dispose()
