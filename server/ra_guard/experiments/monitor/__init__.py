"""From evidence to what is done about it: pure functions over closed enums; no clock, no I/O.

evidence -> `reading` -> `verdict` and `trigger` -> `monitor` -> `rollout` (every minute) and `decision` (at looks).
"""
