"""Sends one message with aiosmtplib. Arguments and environment as for send_smtplib.py."""
import asyncio, os, ssl, sys
from email.message import EmailMessage
import aiosmtplib

mode, port, ca, user, sender, recipient, subject = sys.argv[1:8]
message = EmailMessage()
message["From"] = sender
message["To"] = recipient
message["Subject"] = subject
message.set_content("Hello from aiosmtplib.\n.\n")
asyncio.run(aiosmtplib.send(
    message,
    hostname="localhost",
    port=int(port),
    username=user,
    password=os.environ["GATEPOST_PASSWORD"],
    use_tls=mode == "implicit",
    start_tls=mode == "starttls",
    tls_context=ssl.create_default_context(cafile=ca),
))
