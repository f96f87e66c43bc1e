"""The provider's Workflows API with seeded faults; shares no code with the rest.

Start it with `server.Simulator` in a running loop or `server.serve` in a process; `settings` says what can go wrong.
`routing` finds a route, `api` applies what precedes each handler, `provider` answers what is about workflows. Its parts
share a `scene`: `contents` holds records, cases and parameters, `asking` reads a start, `runs` executes and ends it,
`links` plays the end users; `draws` is chance, `ledger` what was executed. `delivery` sends webhooks, `control` serves
the routes under `/_simulator`. `profile` reads what was found out about a real workspace, `replay` plays a `recording`.
"""
