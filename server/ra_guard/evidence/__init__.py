"""Evidence: what the logs say about each arm, as sufficient statistics that add.

calls and feedback (join) -> `tally` batches, a row for each arm, user, quantity and minute -> `window`s -> `contrast`s.
The live loop and a full recomputation from Parquet make the same batches; a simulation makes them without a log.
"""
