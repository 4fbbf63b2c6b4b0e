"""`python -m edgeline.server.health_check [PORT]`: whether this machine's server is ready.

It ends with 0 or 1, for the images' HEALTHCHECK. A server with TLS is asked by TLS, its
certificate unchecked, as it is for other names than `localhost`; where it wants a client's, that it
answers is all that can be known.
"""

from __future__ import annotations

import http.client
import ssl
import sys

PATH, TIME = "/v2/health/ready", 2.0


def is_ready(port: int) -> bool:
    """Whether a server on this port is ready; with a client CA, whether it answers."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for connection in (
        http.client.HTTPConnection("127.0.0.1", port, timeout=TIME),
        http.client.HTTPSConnection("127.0.0.1", port, timeout=TIME, context=context),
    ):
        by_tls = False
        try:
            connection.connect()
            by_tls = isinstance(connection, http.client.HTTPSConnection)
            connection.request("GET", PATH)
            return connection.getresponse().status == 200
        except TimeoutError:
            return False
        except (OSError, http.client.HTTPException):
            if by_tls:
                return True  # it wants a client's certificate, and ends what has none
        finally:
            connection.close()
    return False


if __name__ == "__main__":
    sys.exit(not is_ready(int(sys.argv[1]) if sys.argv[1:] else 8080))
