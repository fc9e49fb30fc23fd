"""Every page of the dashboard, a file for each: they read and render; none writes."""

from fastapi import APIRouter

from service.access import anyone, needs
from service.dashboard import docs, files_served, history, jobs, overview, run

router = APIRouter(include_in_schema=False, dependencies=[needs("read")])
for page in (overview, run, history, jobs, docs):
    router.include_router(page.router)

files = APIRouter(include_in_schema=False, dependencies=[anyone()])
files.include_router(files_served.router)
