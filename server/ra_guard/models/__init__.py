"""Embedding spaces: what a pair of models is, how it is built or pulled, and the Triton that serves it."""
