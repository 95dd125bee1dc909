"""Both listeners of the stand-in."""

import os
import ssl
import threading
from typing import Any

from flask import Flask, Response
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from portal.demo.identity import control, graph, pages_oidc
from portal.demo.identity.provider import Server
from portal.demo.identity.state import Identity


class QuietHandler(WSGIRequestHandler):
    """Requests carry codes and tokens, so none is logged."""

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Log nothing."""

    def version_string(self) -> str:
        """Tell no versions."""
        return "stand-in"


def build_app(identity: Identity, origin: str, *, with_graph: bool) -> Flask:
    """Return the application of one listener; its addresses and issuer begin with `origin`."""
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # loopback only: see `serve`
    app = Flask(__name__, template_folder="pages", static_folder="pages", static_url_path="/_pages")
    server = Server(identity, origin)
    app.register_blueprint(pages_oidc.blueprint(identity, server))
    app.register_blueprint(pages_oidc.home(identity))
    if with_graph:
        app.register_blueprint(graph.blueprint(identity, origin, server.issuer))
    else:
        app.register_blueprint(control.blueprint(identity))
    policy = (
        f"default-src 'none'; style-src 'self'; form-action 'self' {pages_oidc.portal_origin(identity)}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )

    @app.after_request
    def harden(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        if not response.headers.get("Cache-Control"):
            response.headers["Cache-Control"] = "no-store"
        return response

    return app


def serve(identity: Identity, http_port: int, https_port: int) -> list[BaseWSGIServer]:
    """Listen on both ports of the loopback address and return the servers; they run in threads of their own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.material.server)
    servers = [
        _listen(build_app(identity, f"http://localhost:{http_port}", with_graph=False), http_port, None),
        _listen(build_app(identity, f"https://localhost:{https_port}", with_graph=True), https_port, context),
    ]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    return servers


def _listen(app: Flask, port: int, context: ssl.SSLContext | None) -> BaseWSGIServer:
    return make_server(
        "127.0.0.1", port, app, threaded=True, request_handler=QuietHandler, ssl_context=context
    )
