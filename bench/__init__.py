"""Measures RA-Guard against its floors and its rivals. README.md is the method; `python -m bench.run` is the run."""
