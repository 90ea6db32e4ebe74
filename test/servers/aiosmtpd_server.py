"""aiosmtpd on two loopback ports: plain with STARTTLS, and implicit TLS.

Takes its settings as one JSON object in the first argument, prints {"port": ..., "tlsPort": ...} when it listens,
and writes each message it accepts into the folder: NNNNNN.eml holds exactly the octets that came (dots unstuffed),
NNNNNN.json the envelope. The .json file appears last, under its name at once.
"""

import asyncio
import json
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    def __init__(self, settings):
        self.folder = settings["folder"]
        self.known = set(settings["recipients"])
        self.busy = settings["busy"]
        self.count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address == self.busy:
            return "450 4.2.1 busy for a test"
        if address not in self.known:
            return "550 5.1.1 unknown user"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        path = os.path.join(self.folder, "%06d" % self.count)
        with open(path + ".eml", "wb") as file:
            file.write(envelope.original_content)
        record = {
            "mailFrom": envelope.mail_from,
            "mailOptions": envelope.mail_options,
            "recipients": envelope.rcpt_tos,
            "smtpUtf8": bool(envelope.smtp_utf8),
            "tls": session.ssl is not None,
            "helo": session.host_name,
            "user": session.auth_data if isinstance(session.auth_data, str) else None,
        }
        with open(path + ".part", "w", encoding="utf-8") as file:
            json.dump(record, file)
        os.rename(path + ".part", path + ".json")
        return "250 2.0.0 OK: queued as %06d" % self.count


def make_authenticator(accounts):
    def authenticate(server, session, envelope, mechanism, data):
        username = data.login.decode("utf-8", "replace")
        if accounts.get(username) == data.password.decode("utf-8", "replace"):
            return AuthResult(success=True, auth_data=username)
        return AuthResult(success=False, handled=False)

    return authenticate


async def main():
    settings = json.loads(sys.argv[1])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings["certificate"], settings["key"])
    handler = Handler(settings)
    loop = asyncio.get_running_loop()
    options = {
        "enable_SMTPUTF8": True,
        "hostname": "localhost",
        "data_size_limit": 52428800,
        "authenticator": make_authenticator(settings["accounts"]),
        "loop": loop,
        **settings["options"],
    }
    plain = await loop.create_server(
        lambda: SMTP(handler, tls_context=context, **options), "127.0.0.1", 0
    )
    # aiosmtpd knows nothing of TLS that was there before it: AUTH is allowed as in clear.
    secured = await loop.create_server(
        lambda: SMTP(handler, **{**options, "auth_require_tls": False}), "127.0.0.1", 0, ssl=context
    )
    ports = [server.sockets[0].getsockname()[1] for server in (plain, secured)]
    print(json.dumps({"port": ports[0], "tlsPort": ports[1]}), flush=True)
    await asyncio.gather(plain.serve_forever(), secured.serve_forever())


asyncio.run(main())
