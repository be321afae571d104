"""Says whether pairs of messages hold the same parts, by Python's own reading.

Reads from standard input one line for each pair: two messages in base64.
"""

import base64
import email
import sys


def parts(octets):
    found = []
    for part in email.message_from_bytes(octets).walk():
        payload = part.get_payload(decode=True)
        found.append((part.get_content_type(), part.get_filename(), payload))
    return found


pairs = 0
for line in sys.stdin:
    before, after = (parts(base64.b64decode(word)) for word in line.split())
    if before != after:
        sys.exit(f"pair {pairs}:\n{before}\n{after}")
    pairs += 1
print(pairs)
