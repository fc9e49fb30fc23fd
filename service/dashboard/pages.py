"""Every page of the dashboard that reads and renders, a file for each; those that change something declare it."""

from fastapi import APIRouter

from service.access import anyone, needs
from service.dashboard import (
    compare,
    docs,
    figures,
    files_served,
    history,
    monitoring,
    monitoring_figures,
    overview,
    responses,
    run,
    runs,
)

router = APIRouter(include_in_schema=False, dependencies=[needs("read")])
for page in (overview, runs, run, figures, responses, compare, history, monitoring, monitoring_figures, docs):
    router.include_router(page.router)

files = APIRouter(include_in_schema=False, dependencies=[anyone()])
files.include_router(files_served.router)
