"""The provider's Workflows API with seeded faults; shares no code with the rest.

Start it with `server.Simulator` in a running loop or `server.serve` in a process; `settings` says what can go wrong.
`routing` finds a route, `api` applies what precedes each handler, `provider` holds everything and decides, `draws` is
its chance, `ledger` what it executed; `delivery` sends webhooks, `control` serves the routes under `/_simulator`.
"""
