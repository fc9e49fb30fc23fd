"""Exact-match features for small encoders, carried by token-type ids so that a plain BERT can read them.

A small encoder trained from scratch does not learn to compare a value in the prompt with the one in the response;
it stays at chance on changed values however long it trains. Telling each token whether, and where, it reappears on
the other side makes the comparison a lookup. The feature is lexical overlap, not the oracle.
"""

from collections.abc import Sequence

SENTENCES = 8
TYPE_VOCABULARY = SENTENCES + 3
"""0: special, or prompt token absent from the response; 1..8: prompt token, first seen in that sentence of the
response (the eighth and later share one id); 9: response token absent from the prompt; 10: present in it."""


def match_type_ids(input_ids: Sequence[int], segments: Sequence[int | None], sentence_end_id: int | None) -> list[int]:
    """Token-type ids for one encoded pair.

    ``segments`` is 0 on prompt tokens, 1 on response tokens and None on specials; ``sentence_end_id`` ends a
    sentence of the response (None: the response is one sentence).
    """
    first_seen: dict[int, int] = {}
    sentence = 1
    for token, segment in zip(input_ids, segments, strict=True):
        if segment == 1:
            first_seen.setdefault(token, min(sentence, SENTENCES))
            sentence += token == sentence_end_id
    prompt = {token for token, segment in zip(input_ids, segments, strict=True) if segment == 0}
    return [
        0 if segment is None else first_seen.get(token, 0) if segment == 0 else SENTENCES + 1 + (token in prompt)
        for token, segment in zip(input_ids, segments, strict=True)
    ]
