"""The control path: what an experiment is, where its history lies, and how a plan reaches every replica.

``model`` is pure. ``definition`` reads a TOML definition. ``store`` keeps files. ``publish`` is the one writer,
``replicas`` the side that every worker runs. Nothing here knows gRPC or the data path in ``serving``.
"""
