"""Embedding spaces: what a pair of models is, how it is built from packages or pulled, and the Triton that serves it."""
