"""How a query chooses among replicas, looked up anew each time."""


def route(fleet, query, loads, tokens, added):
    """Return the number of the replica that ``query`` goes to.

    ``loads`` and ``tokens`` are what each replica has outstanding; ``added(number)`` gives the
    joules that the query would add to it.
    """
    everybody = range(len(loads))
    if fleet.routing == "round-robin":
        return query % len(loads)
    if fleet.routing == "least-outstanding":
        return min(everybody, key=lambda n: (loads[n], n))
    if fleet.routing == "least-tokens":
        return min(everybody, key=lambda n: (tokens[n], n))
    room = [n for n in everybody if loads[n] < fleet.queue_limit]
    if not room:
        return min(everybody, key=lambda n: (loads[n], n))
    return min(room, key=lambda n: (added(n), loads[n], n))
