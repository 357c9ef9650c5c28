"""Telling people: what an experiment's alerts, rollbacks and reports come to as messages, and their way out.

``board`` decides which alerts of a tick are news, ``notices`` words what happens once, ``message`` is what both make;
``addresses`` says where a message leads, and ``delivery`` brings it there without making anyone wait, through the
``receivers``.
"""
