"""A whole experiment, played with a clock of its own through the code that watches a real one.

`scenario` says who comes, what they are served and what goes wrong; `presets` are scenarios with names.
`people` and `calls` draw users and their calls, each purpose from its own stream of random numbers; `traffic` turns
the calls of enrolled users into the batches that a log would have given. `play` is the loop, `ledger` what it notes;
`replicate` plays many and counts, passing over minutes that are `quiet`; `measure` says how triggers behave.
`recording` and `outcome` are what is written about one.
"""
