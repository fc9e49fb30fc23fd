"""Is the process alive, and can it do its work?"""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    status: Literal["alive"] = "alive"


@router.get("/livez")
async def livez() -> Alive:
    """The process answers."""
    return Alive()
