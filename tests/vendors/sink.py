"""HTTP sink on the loopback interface that keeps the bodies that clients of vendors post."""

import gzip
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Sink:
    """Bodies in the order of their arrival. The first is answered by an error, the second by no answer at all."""

    def __init__(self):
        self.bodies = []
        self._lock = threading.Lock()

    def add(self, body):
        with self._lock:
            self.bodies.append(body)
            return len(self.bodies)


@contextmanager
def sink_for_clients():
    """Yield the sink and its address."""
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                data = gzip.decompress(data)
            number = sink.add(json.loads(data))
            if number == 2:
                self.close_connection = True
                return
            self.send_response(500 if number == 1 else 200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield sink, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
