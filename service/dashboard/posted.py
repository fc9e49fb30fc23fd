"""What a form of these pages sent."""

from functools import partial
from urllib.parse import parse_qs

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from trainer.errors import InvalidInput

MOST_FIELDS = 2_000


async def posted(request: Request, most_bytes: int = 2**20) -> dict[str, list[str]]:
    """The values of each field in their order. Raises InvalidInput for more than any form of ours sends."""
    body = await request.body()
    if len(body) > most_bytes:
        raise InvalidInput(f"the form is larger than {most_bytes:,} bytes; send less of it, or use the API")
    try:
        parse = partial(parse_qs, keep_blank_values=True, max_num_fields=MOST_FIELDS)
        return await run_in_threadpool(parse, body.decode("utf-8", "replace"))  # a large one takes most of a second
    except ValueError as error:
        raise InvalidInput(f"the form has more than {MOST_FIELDS:,} fields; send fewer, or use the API") from error
