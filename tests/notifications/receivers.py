"""Receivers of notifications on this machine: a web server and a mail server that fail as they are told."""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import socket
import socketserver
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """A client that goes away is no error of these tests."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


class WebReceiver:
    """Answers each POST by the next of `answers`, or 200: a status, (status, headers), "hang", "close" or "cut".

    `seen` has the headers and the JSON body of each request, also of those that are not answered; `accepted` those
    with a status 2xx.
    """

    def __init__(self):
        self.answers = []
        self.seen = []
        self.accepted = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.seen.append((dict(self.headers), body))
                answer = receiver.answers.pop(0) if receiver.answers else 200
                if answer == "hang":
                    receiver.released.wait(30)
                    return
                if answer == "close":
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                status, headers = answer if isinstance(answer, tuple) else (200 if answer == "cut" else answer, {})
                if status < 300:
                    receiver.accepted.append((dict(self.headers), body))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "1000" if answer == "cut" else "2")
                self.end_headers()
                self.wfile.write(b"ok")
                self.close_connection = answer == "cut"

            def log_message(self, *_):
                pass

        self.released = threading.Event()
        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/services/s3cret-token"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def bodies(self):
        return [json.loads(body) for _, body in self.seen]

    def ids(self):
        return [headers["webhook-id"] for headers, _ in self.seen]


class MailReceiver:
    """Accepts mail over SMTP. `replies` has verb -> replies that come before the usual ones; `mails` what was accepted.

    The reply "hang" keeps the client waiting, "close" ends the connection.
    """

    def __init__(self, tls=None):
        self.replies = {}
        self.mails = []
        self.logins = []
        receiver = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError, ValueError):
                    receiver._converse(self)

        self._tls = tls
        self.released = threading.Event()
        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def _converse(self, handler):
        reader, writer, encrypted, recipient = handler.rfile, handler.wfile, False, b""

        def say(text):
            writer.write(text.encode() + b"\r\n")
            writer.flush()

        say("220 ready")
        while line := reader.readline():
            verb = line.split(None, 1)[0].upper().decode() if line.strip() else ""
            if self.replies.get(verb):
                reply = self.replies[verb].pop(0)
                if reply == "hang":
                    self.released.wait(30)
                    return
                if reply == "close":
                    return
                say(reply)
                continue
            if verb == "EHLO":
                offers = ["250-here"]
                offers += ["250-STARTTLS"] if self._tls and not encrypted else []
                offers += ["250-AUTH PLAIN"] if encrypted else []
                say("\r\n".join([*offers, "250 8BITMIME"]))
            elif verb == "STARTTLS":
                say("220 go")
                connection = self._tls.wrap_socket(handler.connection, server_side=True)
                reader, writer, encrypted = connection.makefile("rb"), connection.makefile("wb"), True
            elif verb == "AUTH":
                self.logins.append(line.strip())
                say("235 ok")
            elif verb == "RCPT":
                recipient = line.strip()
                say("250 ok")
            elif verb == "DATA":
                say("354 go")
                content = b""
                while not content.endswith(b"\r\n.\r\n"):
                    content += reader.readline()
                message = email.message_from_bytes(content[:-3], policy=email.policy.default)
                self.mails.append((recipient.decode(), message))
                say("250 accepted")
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")


def until(condition, seconds=30.0):
    """Waits until a condition holds and returns whether it does."""
    end_s = time.monotonic() + seconds
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.02)
    return bool(condition())


def server_context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
