"""``python -m service.cli``: the ``assay`` command where it is not installed."""

import sys

from service.cli.program import main

sys.exit(main())
