"""Receivers of messages that run here: a webhook that answers as it is told to, and a mail server.

The webhook stands in for Slack's: Apprise's Slack service posts to ``NotifySlack.webhook_url``, which `slack_at`
points here. Address, tokens, payload and how the answer is read are Apprise's own.
"""

TOKENS = ("T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ")
SLACK = f"slack://{'/'.join(TOKENS)}/"
