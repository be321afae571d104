"""Verifies every DKIM signature of a message with dkimpy, and tells what it found, as JSON.

Arguments: a file that holds the message, a file that holds records as a JSON object by name.
"""
import json, sys

import dkim

with open(sys.argv[1], "rb") as file:
    message = file.read()
with open(sys.argv[2], encoding="utf-8") as file:
    records = json.load(file)


def record(name, timeout=5):
    return records.get(name.decode().rstrip("."), "").encode() or None


signatures = [value for name, value in dkim.DKIM(message).headers if name.lower() == b"dkim-signature"]
found = []
for number, value in enumerate(signatures):
    tags = dkim.util.parse_tag_value(value)
    try:
        holds = dkim.DKIM(message, minkey=1024).verify(idx=number, dnsfunc=record)
    except dkim.DKIMException as error:
        holds = f"{type(error).__name__}: {error}"
    found.append({
        "algorithm": tags.get(b"a", b"").decode(),
        "domain": tags.get(b"d", b"").decode(),
        "selector": tags.get(b"s", b"").decode(),
        "canonicalization": tags.get(b"c", b"").decode(),
        "fields": [name.strip().lower().decode() for name in tags.get(b"h", b"").split(b":")],
        "holds": holds,
    })
json.dump(found, sys.stdout)
