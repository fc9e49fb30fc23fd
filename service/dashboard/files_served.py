"""/static: what pages need beside themselves. Their addresses change when their content does."""

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from service.dashboard.rendering import plotly_script, scripts_and_styles
from trainer.errors import NotFound

router = APIRouter()

_FOR_GOOD = "public, max-age=31536000, immutable"


@router.get("/static/{name}")
def static(request: Request, name: str) -> FileResponse:
    """Style and scripts of the pages, and plotly.js. One that a script imports has no stamp: it is asked for anew."""
    files = {file.name: file for file in scripts_and_styles()} | {"plotly.min.js": plotly_script()}
    if name not in files:
        raise NotFound(f"no such file: {name}")
    keep = _FOR_GOOD if request.url.query else "no-cache"
    return FileResponse(files[name], headers={"Cache-Control": keep, "X-Content-Type-Options": "nosniff"})
