"""`python -m features`: schema, topics, landing, import, statistics, dead letters, reconciliation."""

from features.cli.app import main

main()
