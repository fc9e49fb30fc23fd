"""Other servers' wire formats, one file each: whoever speaks to them can speak to this one unchanged."""

from service.routes.compat import cohere, openrlhf, rerank, slime, tei, vllm

ROUTERS = (openrlhf.router, vllm.router, slime.router, tei.router, cohere.router, rerank.router)
