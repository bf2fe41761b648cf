"""A browser for tests: Chromium without a window, a folder served to it, and what a page says of itself when it is loaded."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import re
import shutil
import subprocess
import threading

import pytest

__all__ = ["REPORTING", "chromium", "loaded", "served"]

SECONDS = 240

REPORTING = """
<script>
window.complaints = [];
addEventListener("error", e => complaints.push(String(e.message || (e.target && (e.target.src || e.target.href)) || e)), true);
addEventListener("unhandledrejection", e => complaints.push(String(e.reason)));
const complain = console.error;
console.error = (...said) => { complaints.push(said.join(" ")); complain(...said); };
function report(found) {
  const place = document.createElement("script");
  place.type = "application/json";
  place.id = "report";
  place.textContent = JSON.stringify({complaints, ...found}).replaceAll("<", "\\\\u003c");
  document.body.append(place);
}
</script>
"""
"""For a page's head: it gathers errors, and ``report({...})`` leaves them and what a test asks for in the page."""


def chromium():
    """The browser's path; skips the test where there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    return found


@contextlib.contextmanager
def served(folder):
    """The address under which a folder, and what links in it point to, is served on this machine."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Nothing."""


def loaded(address, profile, width=1000):
    """What the page at ``address`` reported, at a window so many pixels wide. No host but this one is reached."""
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", f"--window-size={width},1400"]
    options += ["--virtual-time-budget=120000", "--dump-dom", address]
    done = subprocess.run([chromium(), *options], capture_output=True, text=True, timeout=SECONDS, check=False)
    found = re.search(r'<script type="application/json" id="report">(.*?)</script>', done.stdout, flags=re.S)
    assert found, f"the page did not report: {done.stdout[-500:]} {done.stderr[-2000:]}"
    return json.loads(found.group(1))
