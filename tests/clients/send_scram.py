"""Sends one message with smtplib, signed in by scramp's SCRAM.

Arguments: mode port ca user sender recipient subject mechanism. mode is `implicit` or `starttls`;
the password comes in GATEPOST_PASSWORD. SCRAM-SHA-256-PLUS is bound to the server's certificate,
which is all that Python's ssl can bind to on TLS 1.3.
"""
import hashlib, os, smtplib, ssl, sys
from email.message import EmailMessage
from scramp import ScramClient

mode, port, ca, user, sender, recipient, subject, mechanism = sys.argv[1:9]
context = ssl.create_default_context(cafile=ca)
if mode == "implicit":
    client = smtplib.SMTP_SSL("localhost", int(port), context=context)
else:
    client = smtplib.SMTP("localhost", int(port))
    client.starttls(context=context)
client.ehlo()
offered = client.esmtp_features["auth"].split()
assert mechanism in offered, offered
binding = None
if mechanism.endswith("-PLUS"):
    certificate = client.sock.getpeercert(binary_form=True)
    binding = ("tls-server-end-point", hashlib.sha256(certificate).digest())
scram = ScramClient([mechanism], user, os.environ["GATEPOST_PASSWORD"], channel_binding=binding)
heard = []


def answer(challenge=None):
    if challenge is None:
        return scram.get_client_first()
    heard.append(challenge.decode())
    if len(heard) == 1:
        scram.set_server_first(heard[0])
        return scram.get_client_final()
    # Raises where the server's own proof is wrong.
    scram.set_server_final(heard[1])
    return ""


code, _ = client.auth(mechanism, answer, initial_response_ok=True)
assert code == 235 and len(heard) == 2, (code, heard)
message = EmailMessage()
message["From"] = sender
message["To"] = recipient
message["Subject"] = subject
message.set_content("Proved, not shown.\n")
assert not client.send_message(message)
client.quit()
