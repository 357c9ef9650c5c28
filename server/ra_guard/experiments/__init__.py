"""The control path: what an experiment is, where its history lies, and how a plan reaches every replica.

``definition`` reads what people decide. ``allocation`` says who is in which arm. ``model`` is the state and its pure
transitions, ``errors`` what they refuse. ``store`` keeps files. ``publish`` is the one writer, ``replicas`` the
side that every worker runs, ``spread`` how far a revision has come. Nothing here knows gRPC or the data path.
"""
