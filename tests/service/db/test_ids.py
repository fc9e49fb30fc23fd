"""Identifiers sort by time and say what they name."""

import re
import time

from service.db.ids import new_id


def test_an_id_is_a_prefixed_uuid_of_version_seven_with_the_time_in_front() -> None:
    before = time.time_ns() // 1_000_000
    id_ = new_id("job")
    after = time.time_ns() // 1_000_000

    assert re.fullmatch(r"job_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", id_)
    assert before <= int(id_[4:16], 16) <= after


def test_ids_made_later_sort_later() -> None:
    ids = []
    for _ in range(50):
        ids.append(new_id("run"))
        time.sleep(1e-6)

    assert ids == sorted(ids)
    assert len(set(ids)) == 50
