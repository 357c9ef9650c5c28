"""Receivers of messages that run here: a webhook that answers as it is told to, and a mail server.

The webhook stands in for Slack's: Apprise's Slack service posts to ``NotifySlack.webhook_url``, which `slack_at`
points here. Address, tokens, payload and how the answer is read are Apprise's own.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import UnthreadedController
from aiosmtpd.smtp import SMTP, Envelope, Session

TOKENS = ("T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ")
SLACK = f"slack://{'/'.join(TOKENS)}/"
