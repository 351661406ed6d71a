"""Health check of the landing container: exit 0 while its consumer group reads, 1 otherwise."""

import sys

import kafka
import kafka.errors

from features.contracts.errors import UnavailableError
from features.kafka import LANDING_GROUP
from features.kafka_sockets import connected
from features.settings import load_settings

TIMEOUT_MS = 5_000


def main() -> int:
    """Return the exit code."""
    brokers = load_settings().kafka_bootstrap_servers
    try:
        client = connected(kafka.KafkaAdminClient, brokers, bootstrap_timeout_ms=TIMEOUT_MS)
    except (kafka.errors.KafkaError, UnavailableError):
        return 1
    try:
        group = client.describe_groups([LANDING_GROUP])[LANDING_GROUP]
    except kafka.errors.KafkaError:
        return 1
    finally:
        client.close()
    return 0 if group["group_state"] == "Stable" and group["members"] else 1


if __name__ == "__main__":
    sys.exit(main())
