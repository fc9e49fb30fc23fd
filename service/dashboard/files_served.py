"""/static: what pages need beside themselves. Their addresses change when their content does."""

from fastapi import APIRouter
from fastapi.responses import FileResponse

from service.dashboard.rendering import plotly_script, static_directory
from trainer.errors import NotFound

router = APIRouter()

_HEADERS = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


@router.get("/static/{name}")
def static(name: str) -> FileResponse:
    """Style and scripts of the pages, and plotly.js."""
    files = {file.name: file for file in static_directory().iterdir()} | {"plotly.min.js": plotly_script()}
    if name not in files:
        raise NotFound(f"no such file: {name}")
    return FileResponse(files[name], headers=_HEADERS)
