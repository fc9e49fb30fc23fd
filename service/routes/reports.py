"""GET .../report.html: what a run found, as the one file that `assay report` writes."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from service.access import needs

router = APIRouter(prefix="/v1", tags=["stress tests"], dependencies=[needs("read")])

_HEADERS = {
    # a page of its own origin: its scripts are its figures, and nothing in it can ask this server for anything
    "Content-Security-Policy": (
        "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline';"
        " style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
}


@router.get("/stress-tests/{run_id}/report.html", response_class=HTMLResponse, summary="Read a run's report")
@router.get("/audits/{run_id}/report.html", response_class=HTMLResponse, summary="Read an audit's report")
@router.get("/win-rates/{run_id}/report.html", response_class=HTMLResponse, summary="Read a win rate's report")
@router.get("/benchmarks/{run_id}/report.html", response_class=HTMLResponse, summary="Read a benchmark's report")
def get_report(run_id: str, request: Request) -> HTMLResponse:
    """Verdict, figures and tables in one file that needs no network; 422 before there is anything to tell."""
    from evaluation.report import render_report  # these bring plotly
    from service.evidence import stored_evidence

    with request.app.state.sessions() as session:
        summary, evidence = stored_evidence(session, run_id)
    return HTMLResponse(render_report(summary, evidence), headers=_HEADERS)
