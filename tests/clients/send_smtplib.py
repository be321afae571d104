"""Sends one message with Python's smtplib. Arguments: mode port ca user sender recipient subject.

mode is `implicit` or `starttls`; the password comes in GATEPOST_PASSWORD.
"""
import os, smtplib, ssl, sys
from email.message import EmailMessage

mode, port, ca, user, sender, recipient, subject = sys.argv[1:8]
context = ssl.create_default_context(cafile=ca)
message = EmailMessage()
message["From"] = sender
message["To"] = recipient
message["Subject"] = subject
message.set_content("Grüße aus smtplib.\n.\n..two dots\nFrom here on.\n")
if mode == "implicit":
    client = smtplib.SMTP_SSL("localhost", int(port), context=context)
else:
    client = smtplib.SMTP("localhost", int(port))
    client.starttls(context=context)
client.login(user, os.environ["GATEPOST_PASSWORD"])
refused = client.send_message(message)
assert not refused, refused
client.quit()
