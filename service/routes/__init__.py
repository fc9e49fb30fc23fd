"""One file per resource; each has a ``router`` that ``service.app`` includes."""
