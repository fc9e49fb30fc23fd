"""Which version of an answer a caller has already."""


def is_known(sent: str, tag: str) -> bool:
    """Whether ``sent``, an If-None-Match header, names ``tag``: by weak comparison (RFC 9110, section 13.1.2)."""
    return sent.strip() == "*" or tag.removeprefix("W/") in {
        each.strip().removeprefix("W/") for each in sent.split(",")
    }
