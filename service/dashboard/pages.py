"""Every page of the dashboard, a file for each: they read and render; none writes."""

from fastapi import APIRouter

from service.access import anyone, needs
from service.dashboard import compare, docs, figures, files_served, jobs, overview, responses, run, runs

router = APIRouter(include_in_schema=False, dependencies=[needs("read")])
for page in (overview, runs, run, figures, responses, compare, jobs, docs):
    router.include_router(page.router)

files = APIRouter(include_in_schema=False, dependencies=[anyone()])
files.include_router(files_served.router)
