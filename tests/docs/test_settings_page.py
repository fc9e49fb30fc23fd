"""docs/settings.md is what the code says."""

from pathlib import Path

from service.cli.settings_page import COMMAND, settings_page

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == settings_page(), f"docs/settings.md is of other code; renew it: {COMMAND}"


def test_a_setting_is_told_with_its_default() -> None:
    rows = settings_page().splitlines()
    assert "| `ASSAY_PORT` | `8000` | Port to listen on; 0 lets the system choose. |" in rows
    (pinned,) = [row for row in rows if row.startswith("| `ASSAY_PINNED` |")]
    assert pinned.startswith("| `ASSAY_PINNED` |  | Scorers loaded at the start")
    (checked,) = [row for row in rows if row.startswith("| `ASSAY_CHECK_MEMORY` |")]
    assert "| `true` |" in checked
