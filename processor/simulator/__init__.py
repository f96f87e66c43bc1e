"""The provider's Workflows API with seeded faults; shares no code with the rest."""
