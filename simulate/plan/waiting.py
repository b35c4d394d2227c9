"""How long requests wait for a free server, by formulas: approximations that only order the work.

In: rates, means and variability. Out: seconds; exact for M/M/c, and for the mean of M/G/1.
"""

import math


def erlang_c(servers: int, load: float) -> float:
    """Return the probability of waiting in M/M/c: ``load`` is rate x service time, below servers.

    1 where the load is as high as that. By the recursion of Erlang's B formula.
    """
    if load >= servers:
        return 1.0
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = load * blocked / (number + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def mean_wait_s(
    rate: float, service_s: float, arrival_cv2: float, service_cv2: float, servers: int
) -> float:
    """Return the mean wait in G/G/c; inf where the servers cannot keep up.

    Allen and Cunneen's approximation (Allen, Probability, Statistics and Queueing Theory, 1990,
    section 5.3): that of M/M/c times half the sum of the squared coefficients of variation of gaps
    and services. Of one server it is Kingman's (1961), and of M/G/1 Pollaczek and Khinchine's.
    """
    load = rate * service_s
    if load >= servers:
        return math.inf
    waits = erlang_c(servers, load) * service_s / (servers - load)
    return (arrival_cv2 + service_cv2) / 2 * waits


def wait_s(
    probability: float,
    rate: float,
    service_s: float,
    arrival_cv2: float,
    service_cv2: float,
    servers: int,
) -> float:
    """Return what the wait stays below with ``probability``; who waits does so exponentially."""
    mean_s = mean_wait_s(rate, service_s, arrival_cv2, service_cv2, servers)
    waits = erlang_c(servers, rate * service_s)
    if waits <= 1 - probability:
        return 0.0
    return mean_s / waits * math.log(waits / (1 - probability))
