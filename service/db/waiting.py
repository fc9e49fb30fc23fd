"""Why jobs wait: what they need, beside what the servers have and the running jobs hold."""

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.db.tables import Job
from service.db.workers import present
from service.slots import Machine, Need, Taken, never, not_now


class Waiting:
    """The servers and what is taken of them, at one moment."""

    def __init__(self, session: Session) -> None:
        self._machines = present(session)
        self._taken = _taken(session, self._machines)

    def refusal(self, need: Need) -> str | None:
        """Why no server can ever carry out such a job; None if one can, or none was heard of."""
        reasons = [never(need, machine) for machine in self._machines.values()]
        return reasons[0] if reasons and all(reasons) else None

    def reason(self, job: Job) -> str | None:
        """What a queued job waits for; None if it is only for its turn."""
        need = Need.of(job.recipe.get("launch", {}), job.memory_bytes)
        if not self._machines:
            return "no server carries out jobs at present"
        if reason := self.refusal(need):
            return f"no server can carry it out: {reason}"
        reasons = [
            not_now(need, machine, self._taken[owner])
            for owner, machine in self._machines.items()
            if never(need, machine) is None
        ]
        return reasons[0] if all(reasons) else job.error_detail  # of the last try to start it


def _taken(session: Session, machines: Mapping[str, Machine]) -> dict[str, Taken]:
    query = select(Job.lease_owner, Job.recipe["launch"], Job.memory_bytes, Job.process)
    rows = session.execute(query.where(Job.status == "running")).all()
    held = {
        owner: [
            (Need.of(launch or {}, memory_bytes), (process or {}).get("gpus", ()))
            for of, launch, memory_bytes, process in rows
            if of == owner
        ]
        for owner in machines
    }
    return {owner: Taken.by(held[owner], machine.gpus is not None) for owner, machine in machines.items()}
