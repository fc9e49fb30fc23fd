"""A quota of n a minute admits n at once and then one each 60/n seconds; what is overdrawn is missing afterwards."""

from datetime import UTC, datetime

import pytest

from service.security.keys import Key, Quota
from service.security.quotas import Quotas
from trainer.errors import QuotaExceeded


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def key_with(quota: Quota, name: str = "key_1") -> Key:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    return Key(name, "me", f"assay_{name}", "0" * 64, frozenset({"score"}), quota, now, None, None, None)


def test_requests_beyond_the_quota_wait_for_the_bucket_to_fill() -> None:
    clock = Clock()
    quotas, key = Quotas(clock), key_with(Quota(requests=6))
    for _ in range(6):
        quotas.admit_request(key)

    with pytest.raises(QuotaExceeded, match="6 requests a minute; wait 10 s") as refused:
        quotas.admit_request(key)
    assert refused.value.retry_after_seconds == 10

    clock.now += 10
    quotas.admit_request(key)


def test_a_request_larger_than_the_quota_is_served_once_and_paid_for_afterwards() -> None:
    clock = Clock()
    quotas, key = Quotas(clock), key_with(Quota(pairs=60))
    quotas.admit_pairs(key, 150)

    clock.now += 90  # 90 pairs later the debt is paid, and nothing is left
    with pytest.raises(QuotaExceeded) as refused:
        quotas.admit_pairs(key, 1)
    assert refused.value.retry_after_seconds == 1
    clock.now += 1
    quotas.admit_pairs(key, 1)


def test_tokens_are_charged_when_they_are_known_and_hold_up_the_next_request() -> None:
    clock = Clock()
    quotas, key = Quotas(clock), key_with(Quota(tokens=600))
    quotas.admit_pairs(key, 1)
    quotas.charge_tokens(key, 1200)

    with pytest.raises(QuotaExceeded, match="600 tokens a minute; wait 61 s"):
        quotas.admit_pairs(key, 1)


def test_a_refused_request_costs_nothing() -> None:
    clock = Clock()
    quotas, key = Quotas(clock), key_with(Quota(pairs=60, tokens=60))
    quotas.charge_tokens(key, 60)
    for _ in range(5):
        with pytest.raises(QuotaExceeded, match="tokens"):
            quotas.admit_pairs(key, 60)
    clock.now += 1

    quotas.admit_pairs(key, 60)


def test_keys_do_not_share_and_keys_without_a_quota_are_free() -> None:
    quotas = Quotas(Clock())
    quotas.admit_request(key_with(Quota(requests=1)))
    quotas.admit_request(key_with(Quota(requests=1), "key_2"))
    for _ in range(1000):
        quotas.admit_request(key_with(Quota(), "key_3"))


def test_pairs_that_were_not_scored_are_given_back_and_no_more_than_the_quota_is_held() -> None:
    quotas, key = Quotas(Clock()), key_with(Quota(pairs=60))
    for _ in range(3):
        quotas.admit_pairs(key, 60)
        quotas.give_pairs_back(key, 60)
    quotas.give_pairs_back(key, 60)
    quotas.admit_pairs(key, 60)

    with pytest.raises(QuotaExceeded, match="60 pairs a minute; wait 1 s"):
        quotas.admit_pairs(key, 1)
