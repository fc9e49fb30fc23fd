"""Trivial controls, worked by hand."""

import math
import zlib

import pytest

from evaluation.scorers.controls import CONTROLS, Response, family, is_control, untrained_like


def test_length_is_the_logarithm_of_one_plus_the_characters() -> None:
    assert CONTROLS["length"](Response("p", "abcdefghi")) == pytest.approx(math.log(10))
    assert CONTROLS["length"](Response("p", "ä")) == pytest.approx(math.log(2))  # a character, though two bytes
    assert CONTROLS["length"](Response("p", "")) == 0.0


def test_repetition_compresses_and_variety_does_not() -> None:
    ratio = CONTROLS["zlib_ratio"]
    repeated = ratio(Response("p", "good " * 40))
    assert repeated == pytest.approx(len(zlib.compress(b"good " * 40)) / 200)
    varied = ratio(Response("p", "A lamp of brushed steel, eleven inches tall, dims from dusk-warm to noon-white."))
    assert repeated is not None
    assert varied is not None
    assert repeated < 0.1
    assert varied > 0.8


def test_text_that_is_not_utf8_is_still_measured_and_empty_text_has_no_ratio() -> None:
    assert CONTROLS["zlib_ratio"](Response("p", "\ud800")) is not None
    assert CONTROLS["zlib_ratio"](Response("p", "")) is None


def test_recorded_facts_are_passed_on_and_their_absence_is_none_not_zero() -> None:
    recorded = Response("p", "r", tokens=3, mean_logprob=-1.5, finish_reason="length")
    assert CONTROLS["mean_logprob"](recorded) == -1.5
    assert CONTROLS["truncated"](recorded) == 1.0
    assert CONTROLS["truncated"](Response("p", "r", finish_reason="stop")) == 0.0
    assert CONTROLS["mean_logprob"](Response("p", "r")) is None
    assert CONTROLS["truncated"](Response("p", "r")) is None


def test_untrained_networks_are_one_family_named_after_their_artifact() -> None:
    assert family("a/discriminator:untrained_3") == "a/discriminator:untrained"
    assert family("a/discriminator:untrained_3@2") == "a/discriminator:untrained@2"
    assert family("a/discriminator:difference") == "a/discriminator:difference"
    assert untrained_like("a/discriminator:difference@2") == "a/discriminator:untrained@2"
    assert [is_control(name) for name in ("a:untrained", "a:untrained@2", "length", "a:chosen", "untrained")] == [
        True, True, True, False, False,
    ]  # fmt: skip
