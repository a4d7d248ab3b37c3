"""A Ray cluster of two machines that are both this one; loses one and gains one when told. A program of its own."""

from __future__ import annotations

import sys
from typing import Any

from ray.cluster_utils import Cluster

HEALTH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 2000,
    "health_check_timeout_ms": 10_000,
    "health_check_failure_threshold": 3,
}
"""A dead machine is noticed within ten seconds; a slow one is not taken for dead."""
SMALL = {"object_store_memory": 100_000_000}
TRIES = 3
"""Ray gives a machine 30 s to begin, which a busy computer does not always have for it."""


def started(cluster: Cluster, arguments: dict[str, Any]) -> Any:
    """Another machine, the first being the head; what a failed try began ends with this program."""
    for left in reversed(range(TRIES)):
        try:
            return cluster.add_node(**arguments)
        except Exception as error:
            if not left:
                raise
            print(f"tried again: {error}", file=sys.stderr, flush=True)
    raise AssertionError


def main() -> None:
    """Say the address; then a word for each word on standard input, until there is another."""
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": HEALTH, **SMALL}
    cluster = Cluster()
    started(cluster, head)
    other = started(cluster, {"num_cpus": 2, **SMALL})
    print(cluster.address, flush=True)
    for word in sys.stdin:
        if word == "lose\n":
            cluster.remove_node(other, allow_graceful=False)
        elif word == "gain\n":
            other = started(cluster, {"num_cpus": 2, **SMALL})
        else:
            break
        print("done", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
