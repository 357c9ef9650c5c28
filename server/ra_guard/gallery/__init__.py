"""The images behind the ranking, from a folder of files to a published generation.

In the order in which things happen: `sources` finds files, `intake` checks one, `quarantine` keeps what cannot be
used, `objects` and `catalogue` remember what can, `features` asks the models, `publish` writes shards and swaps the
generation, `compaction` keeps their number small, `pools` draws candidates, `cold` fills in features that are missing.
"""
