"""A whole experiment played through the real monitor, trigger, rollout, looks, decision and reports, with a clock of its own.

`scenario` says who comes, what they are served and what goes wrong; `presets` are scenarios with names.
`people` and `calls` draw users and their calls, each purpose from its own stream of random numbers; `traffic` turns
the calls of enrolled users into the batches that a log would have given. `play` is the loop, `ledger` what it notes;
`replicate` plays many and counts, `triggers` measures how triggers behave, `outcome` is what is written about one.
"""
