"""A scripted mail server for the tests.

Run as: python3 server.py SCRIPT.json
It prints the port that it listens on, and keeps in the script's "directory":
  NNN.eml   each message whose text arrived, as it arrived, in order of arrival
  log       one line per command or event

The script:
  directory   where to keep things
  tls         "none", "starttls" or "tls"
  certificate, key   PEM files for TLS
  login       [username, password]: AUTH is required
  answers     {"rcpt:bad@example.org": ["550 no such user"], "data": ["451 later"], ...}
              A list is used up from the front; its last entry stays. "" is the usual answer.
              Verbs: connect, mail, rcpt, rcpt:ADDRESS, data, content
              The answer "drop" closes the connection; in "content" after the message was kept.
"""

import asyncio
import json
import ssl
import sys
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult

script = json.loads(Path(sys.argv[1]).read_text())
directory = Path(script["directory"])
answers = script.get("answers", {})


def log(text):
    with open(directory / "log", "a") as file:
        file.write(text + "\n")


def scripted(*names):
    for name in names:
        if answers.get(name):
            queue = answers[name]
            return queue.pop(0) if len(queue) > 1 else queue[0]
    return ""


class Server(SMTP):
    async def smtp_DATA(self, arg):
        answer = scripted("data")
        if answer == "drop":
            self.transport.abort()
        elif answer:
            await self.push(answer)
        else:
            await super().smtp_DATA(arg)


class Handler:
    async def handle_MAIL(self, server, session, envelope, address, options):
        tls = server.transport.get_extra_info("ssl_object") is not None
        log(f"mail {address} tls={tls} login={session.authenticated}")
        answer = scripted("mail")
        if answer == "drop":
            server.transport.abort()
        envelope.mail_from = address
        return answer or "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        log(f"rcpt {address}")
        answer = scripted("rcpt:" + address, "rcpt")
        if answer == "drop":
            server.transport.abort()
        if not answer:
            envelope.rcpt_tos.append(address)
        return answer or "250 OK"

    async def handle_DATA(self, server, session, envelope):
        answer = scripted("content")
        if not answer or answer == "drop":
            count = len(list(directory.glob("*.eml"))) + 1
            (directory / f"{count:03}.eml").write_bytes(envelope.original_content)
            log(f"kept {envelope.rcpt_tos[0]}")
        if answer == "drop":
            server.transport.abort()
        return answer or "250 kept"


def authenticate(server, session, envelope, mechanism, login):
    log(f"auth {mechanism}")
    wanted = [text.encode() for text in script["login"]]
    return AuthResult(success=[login.login, login.password] == wanted, handled=False)


def protocol(context):
    def make():
        return Server(
            Handler(),
            hostname="localhost",
            tls_context=context if script.get("tls") == "starttls" else None,
            require_starttls=script.get("tls") == "starttls",
            authenticator=authenticate if "login" in script else None,
            auth_required="login" in script,
            auth_require_tls=script.get("tls") == "starttls",
        )

    return make


class Closed(asyncio.Protocol):
    def connection_made(self, transport):
        log("connect dropped")
        transport.abort()


async def main():
    context = None
    if script.get("tls", "none") != "none":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(script["certificate"], script["key"])
    make = protocol(context)
    listener = await asyncio.get_running_loop().create_server(
        lambda: Closed() if scripted("connect") == "drop" else make(),
        host="127.0.0.1" if script.get("tls", "none") == "none" else "0.0.0.0",
        port=0,
        ssl=context if script.get("tls") == "tls" else None,
    )
    print(listener.sockets[0].getsockname()[1], flush=True)
    # Ends with the test that started it, however that ends.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    listener.close()


asyncio.run(main())
