"""Onboarding requests from Kafka, run as workflows at a provider's HTTP API, one result event each.

Where to find things: `core` decides (pure), `engine` keeps partitioned state in Kafka transactions,
`adapters` talk to the outside, `roles` wire them together, `cli` starts roles, `simulator` plays the provider.
"""
