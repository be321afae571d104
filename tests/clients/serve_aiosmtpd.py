"""Serves SMTP with aiosmtpd on a port of 127.0.0.1. Arguments: records certificate key name password.

STARTTLS and AUTH are needed. Appends lines of JSON to the file of records: first the port, then each
message before it is answered.
"""
import asyncio, json, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult

records, certificate, key, name, password = sys.argv[1:]


def record(line):
    with open(records, "a") as file:
        file.write(json.dumps(line) + "\n")


def authenticate(server, session, envelope, mechanism, data):
    right = (data.login.decode(), data.password.decode()) == (name, password)
    session.login = data.login.decode()
    # The server answers 535 itself.
    return AuthResult(success=right, handled=False)


class Recorder:
    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.append(rcpt_options)
        return "250 2.1.5 Recipient taken"

    async def handle_DATA(self, server, session, envelope):
        record({
            "sender": envelope.mail_from,
            "sender_parameters": envelope.mail_options,
            "recipients": envelope.rcpt_tos,
            "recipient_parameters": envelope.rcpt_options,
            "content": envelope.content.decode(errors="replace"),
            "login": session.login,
            "tls": session.ssl is not None,
        })
        return "250 2.0.0 Written down"


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def connection():
        return SMTP(
            Recorder(),
            hostname="aiosmtpd.example",
            enable_SMTPUTF8=True,
            tls_context=context,
            require_starttls=True,
            authenticator=authenticate,
            auth_required=True,
        )

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    record({"port": server.sockets[0].getsockname()[1]})
    await server.serve_forever()


asyncio.run(main())
