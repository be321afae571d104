"""Reads a report with Python's email package and tells what it found, as JSON.

Argument: a file that holds the report.
"""
import email, email.policy, json, quopri, sys

POLICY = email.policy.SMTPUTF8


def parsed(octets):
    return email.message_from_bytes(octets, policy=POLICY)


def defects(part):
    found = [str(defect) for defect in part.defects]
    for value in part.values():
        if not str(value).isascii():
            continue  # Letters beyond ASCII are a defect to it, RFC 6532 or not.
        found += [str(defect) for defect in getattr(value, "defects", [])]
    if part.is_multipart():
        for inner in part.get_payload():
            found += defects(inner)
    return found


def groups(status):
    if status.get_content_type() == "message/delivery-status":
        return status.get_payload()
    # The package knows message/global-delivery-status as a message only.
    text = status.get_payload(0).as_bytes(policy=POLICY)
    return [parsed(group) for group in text.strip().split(b"\r\n\r\n")]


def header(returned):
    if not returned.is_multipart():
        return parsed(returned.get_payload(decode=True))
    inner = returned.get_payload(0)
    if returned["Content-Transfer-Encoding"] == "quoted-printable":
        # It does not look for an encoding around a message either (RFC 6532 section 3.5).
        return parsed(quopri.decodestring(inner.as_bytes(policy=POLICY)))
    return inner


with open(sys.argv[1], "rb") as file:
    report = parsed(file.read())
parts = list(report.iter_parts())
letter, status, returned = parts
json.dump({
    "type": report.get_content_type(),
    "report_type": report.get_param("report-type"),
    "from": str(report["From"]),
    "to": str(report["To"]),
    "date": report["Date"].datetime.isoformat(),
    "auto_submitted": report["Auto-Submitted"],
    "parts": [part.get_content_type() for part in parts],
    "letter": letter.get_content(),
    "status": [{name: str(value) for name, value in group.items()} for group in groups(status)],
    "subject": header(returned)["Subject"],
    "defects": defects(report),
}, sys.stdout)
