"""The client and the reward functions stay light."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]


def test_neither_torch_nor_the_server_is_imported() -> None:
    code = (
        "import sys, service.client, service.integrations.trl, service.integrations.verl\n"
        "heavy = {'torch', 'transformers', 'fastapi', 'sqlalchemy', 'uvicorn', 'numpy'} & sys.modules.keys()\n"
        "sys.exit(', '.join(sorted(heavy)) if heavy else 0)"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
