"""nginx as the peer of reads: one worker that answers every request with the same 100 bytes from its configuration."""

import os
from pathlib import Path

from tests.bench.programs import Program, free_port, require_program
from tests.bench.site import VALUE_BYTES, Site

# The header that a replica sends, so that both write the same amount; no log, as the replica has none for requests.
_CONFIGURATION = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      add_header Cache-Control no-cache;
      add_header ETag '"1000000"';
      add_header SLKV-Token AAAAAAAAAAAAAAAAAAAAAA:0:1000000;
      return 200 "{body}";
    }}
  }}
}}
"""


class Nginx(Program):
    """nginx on a port of the loopback."""

    def __init__(self, site: Site, *, core: int) -> None:
        self.port = free_port()
        folder = site.folder / "nginx"
        folder.mkdir(exist_ok=True)
        settings = folder / "nginx.conf"
        settings.write_text(self._configuration(folder))
        command = [require_program("nginx"), "-c", str(settings), "-p", str(folder)]
        super().__init__("nginx", command, log=site.folder / "nginx.log", core=core)

    def await_ready(self) -> None:
        """Returns once it accepts connections."""
        self.await_port(self.port)

    def _configuration(self, folder: Path) -> str:
        # Started by root it would change to a user who may not be able to read the folder.
        user = "user root;" if os.geteuid() == 0 else ""
        return _CONFIGURATION.format(user=user, folder=folder, port=self.port, body="x" * VALUE_BYTES)
