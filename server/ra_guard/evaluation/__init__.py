"""Evaluation without users at hand: rankings against judgments that exist. Numbers in, numbers out; no files.

- `trec`: judgments and runs from lines of text
- `metrics`: nDCG, precision, recall, reciprocal rank and average precision by trec_eval's conventions
- `calls`: logged calls ranked again from their logged terms
- `weights`: what weights of the score make of such calls; `fit` learns them
- `randomisation`: whether two runs differ by more than chance
"""
