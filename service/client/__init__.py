"""A typed client of a running Assay server. Light: it imports neither torch nor the server.

```python
with AssayClient("http://127.0.0.1:8000") as client:
    answer = client.score_items(["helpfulness"], [{"prompt": "...", "responses": ["...", "..."]}])
```

``AsyncAssayClient`` is the same for an event loop.
"""

from service.client.awaiting import AsyncAssayClient
from service.client.waiting import AssayClient

__all__ = ["AssayClient", "AsyncAssayClient"]
