"""Writers of one process go in the order in which they came."""

import threading
import time
from pathlib import Path

from sqlalchemy import text

from service.db.session import make_engine, sessions, writing
from service.db.turns import Turns


def wait_for(turns: Turns, waiting: int) -> None:
    while len(turns._waiting) < waiting:
        time.sleep(0.001)


def test_who_asks_first_has_the_first_turn() -> None:
    turns, order = Turns(), list[str]()

    def ask(name: str) -> None:
        with turns.mine(60):
            order.append(name)

    with turns.mine(60):
        threads = [threading.Thread(target=ask, args=(name,)) for name in "abc"]
        for place, thread in enumerate(threads, 1):
            thread.start()
            wait_for(turns, place)
    ask("who had it before")
    for thread in threads:
        thread.join()

    assert order == ["a", "b", "c", "who had it before"]


def test_who_waited_for_too_long_goes_on_and_takes_nobodys_turn() -> None:
    turns, order = Turns(), list[str]()

    def ask(name: str, seconds: float) -> None:
        with turns.mine(seconds):
            order.append(name)

    with turns.mine(60):
        ask("in vain", 0.01)
        thread = threading.Thread(target=ask, args=("patient", 60))
        thread.start()
        wait_for(turns, 1)
        assert order == ["in vain"]
    thread.join()
    ask("next", 0)

    assert order == ["in vain", "patient", "next"]


def test_a_turn_ends_with_a_block_that_raises() -> None:
    turns = Turns()
    try:
        with turns.mine(60):
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass

    assert turns._acquire(0)


def test_who_writes_again_and_again_goes_behind_who_waits(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'assay.db'}")
    make_session = sessions(engine)
    turns: Turns = engine.get_execution_options()["turns"]
    order, under_way = list[str](), threading.Event()

    def store() -> None:
        for number in range(3):
            with writing(make_session) as session:
                session.execute(text("CREATE TABLE IF NOT EXISTS a (b)"))
                order.append("again")
                if number == 0:
                    under_way.set()
                    wait_for(turns, 1)

    thread = threading.Thread(target=store)
    thread.start()
    assert under_way.wait(60)
    with writing(make_session):
        order.append("once")
    thread.join()
    engine.dispose()

    assert order == ["again", "once", "again", "again"]
