"""The whole program under kill -9 for minutes, and the auditor that judges it."""
