"""Sends one message with Python's smtplib.LMTP. Arguments: place sender subject recipient...

place is a port of 127.0.0.1 or the path of a Unix socket. Prints a line for each recipient that was
refused at RCPT; fails where all were.
"""
import smtplib, sys
from email.message import EmailMessage

place, sender, subject, *recipients = sys.argv[1:]
message = EmailMessage()
message["From"] = sender
message["To"] = ", ".join(recipients)
message["Subject"] = subject
message.set_content("Greetings from smtplib.\n.\n..two dots\n")
if place.startswith("/"):
    client = smtplib.LMTP(place)
else:
    client = smtplib.LMTP("127.0.0.1", int(place))
refused = client.send_message(message, sender, recipients)
for recipient, (code, text) in refused.items():
    print(recipient, code, text.decode(errors="replace"))
client.quit()
