"""From what workers wrote to what an analysis reads: ship, keep, export, join, verify. FORMAT.md is the page of names.

In the order in which things happen: ``layout`` names objects, ``objects`` holds them, ``ship`` moves sealed segments
there (``durable`` files, ``plans`` beside them), ``retention`` deletes what is too old, ``loop`` repeats both;
``parquet`` exports ``columns``, ``exposures`` joins and counts, ``judged`` finds what weights can be evaluated on,
``verify`` replays. Nothing here runs inside a worker or changes what was logged. Clocks and stores come in as
arguments.
"""
