"""Run the stand-in: ``python -m portal.demo.identity --data-dir D --http-port P --https-port Q --portal-url U``."""

import argparse
import signal
import sys
import threading
from pathlib import Path
from types import FrameType


def main() -> int:
    """Serve until SIGTERM or SIGINT; print ``ready`` when both ports listen."""
    parser = argparse.ArgumentParser(prog="python -m portal.demo.identity", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="where keys and secrets are kept")
    parser.add_argument("--http-port", type=int, required=True, help="for the browser")
    parser.add_argument("--https-port", type=int, required=True, help="for MSAL and Graph")
    parser.add_argument("--portal-url", required=True, help="the portal's address: redirects go nowhere else")
    options = parser.parse_args()

    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)

    from portal.demo.identity.material import prepare
    from portal.demo.identity.server import serve
    from portal.demo.identity.state import Identity

    identity = Identity(prepare(options.data_dir), options.portal_url)
    try:
        servers = serve(identity, options.http_port, options.https_port)
    except (OSError, SystemExit) as error:  # werkzeug exits by itself when a port is taken
        print(f"The stand-in cannot listen: {error}", file=sys.stderr)
        return 1
    print("ready", flush=True)
    stopping.wait()
    for server in servers:
        server.shutdown()
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
