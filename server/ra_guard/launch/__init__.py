"""Before the launch: the deployment package of a definition, and whether its checklist holds on a running system.

`timeline` puts dates to a definition, `package` gathers all that people need, `pages` prints it. `ledger` reads who
signed what; `readiness` runs the checklist with the checks of `checks`, and `criteria` decide go or no-go.
"""
