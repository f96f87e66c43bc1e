"""Partitioned state machines on Kafka transactions; knows nothing of onboarding."""
