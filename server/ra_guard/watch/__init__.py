"""The watch: sees every minute what the logs say of an experiment, stops it, tells people, and moves the ramp.

what the control plane says (`seen`) + what the logs say -> `epoch` (one analysis, played minute by minute) -> `loop`,
which acts through the control plane as any operator does.
"""
