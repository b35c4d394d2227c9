"""Waiting by formulas: exact where queueing theory is."""

import math

import pytest

from simulate.plan.waiting import erlang_c, mean_wait_s, wait_s


def waiting_in_mmc(servers, load):
    """The probability of waiting in M/M/c, by the sums of the textbooks."""
    terms = [load**k / math.factorial(k) for k in range(servers)]
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(terms) + last)


@pytest.mark.parametrize("servers", [1, 2, 5, 20])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_waiting_in_mmc(servers, share):
    assert erlang_c(servers, share * servers) == pytest.approx(
        waiting_in_mmc(servers, share * servers)
    )


def test_one_server_is_pollaczek_and_khinchine():
    rate, service_s, cv2 = 0.3, 2.0, 0.7
    second_moment = service_s**2 * (1 + cv2)
    assert mean_wait_s(rate, service_s, 1.0, cv2, 1) == pytest.approx(
        rate * second_moment / (2 * (1 - rate * service_s))
    )


def test_a_wait_in_mm1_is_exponential_where_there_is_one():
    rate, service_s = 0.3, 2.0
    # P(W > t) = load x exp(-(1 / service - rate) t).
    at_s = wait_s(0.99, rate, service_s, 1.0, 1.0, 1)
    assert 0.6 * math.exp(-(1 / service_s - rate) * at_s) == pytest.approx(0.01)
    assert wait_s(0.3, rate, service_s, 1.0, 1.0, 1) == 0.0


def test_who_cannot_keep_up_waits_for_ever():
    assert mean_wait_s(1.0, 2.0, 1.0, 1.0, 2) == math.inf
    assert wait_s(0.5, 1.0, 2.0, 1.0, 1.0, 2) == math.inf
