"""Wiring: which deciders, which topics, which adapters make a role."""
