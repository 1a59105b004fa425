"""Send one e-mail about a failed deploy.

SMTP_URL (smtps://host:465, or smtp://host:587 with STARTTLS), SMTP_USER, SMTP_PASSWORD, MAIL_FROM and MAIL_TO
(several, by comma) come from the environment; the subject is the first argument, the text comes from standard
input. The connection is always encrypted.
"""

import os
import smtplib
import ssl
import sys
from collections.abc import Mapping
from email.message import EmailMessage
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 30


def compose(subject: str, text: str, settings: Mapping[str, str]) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = settings["MAIL_FROM"]
    message["To"] = settings["MAIL_TO"]
    message.set_content(text)
    return message


def connect(url: str) -> smtplib.SMTP:
    """An encrypted connection to the server; refuses an address of another form."""
    parts = urlsplit(url)
    context = ssl.create_default_context()
    if parts.hostname and parts.scheme == "smtps":
        return smtplib.SMTP_SSL(parts.hostname, parts.port or 465, timeout=TIMEOUT_SECONDS, context=context)
    if parts.hostname and parts.scheme == "smtp":
        server = smtplib.SMTP(parts.hostname, parts.port or 587, timeout=TIMEOUT_SECONDS)
        server.starttls(context=context)
        return server
    raise SystemExit("SMTP_URL must read smtps://host:port or smtp://host:port.")


def main() -> None:
    message = compose(sys.argv[1], sys.stdin.read(), os.environ)
    with connect(os.environ["SMTP_URL"]) as server:
        server.login(os.environ["SMTP_USER"], os.environ["SMTP_PASSWORD"])
        server.send_message(message)


if __name__ == "__main__":
    main()
