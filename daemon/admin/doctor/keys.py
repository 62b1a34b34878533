"""Who may connect: the server's pair as the daemon looks for it, cameras without a key, sockets without keys."""

from __future__ import annotations

import re

from daemon.admin.doctor.finding import Finding
from daemon.authorized_keys import KeysUnreadable, Role, authorized_file, read_authorized
from daemon.curve import server_pair
from daemon.settings import LOCAL_ENDPOINT, ConfigurationError, Settings


def check(settings: Settings) -> list[Finding]:
    """One finding for the keys; another where a socket stands open."""
    if settings.ingest.security == "curve":
        return [_curve(settings)]
    return [Finding("keys", "ok", 'not needed: ingest.security = "none"'), *_open_sockets(settings)]


def _open_sockets(settings: Settings) -> list[Finding]:
    binds = {"ingest.bind": settings.ingest.bind, "publish.bind": settings.publish.bind}
    far = [f"{name} = {bind}" for name, bind in binds.items() if not re.match(LOCAL_ENDPOINT, bind)]
    if not far:
        return []
    detail = f"{' and '.join(far)} without keys: whoever reaches it sends as any camera, or hears every verdict"
    remedy = (
        'set ingest.security = "curve" (INSTALL.md, section 6); else a packet filter that lets only cameras in'
    )
    return [Finding("security", "note", detail, remedy)]


def _curve(settings: Settings) -> Finding:
    try:
        public = server_pair(settings).public
        keys = read_authorized(authorized_file(settings.state.dir)).keys
    except ConfigurationError as error:
        return Finding("keys", "configuration", str(error), _pair_remedy(str(error)))
    except KeysUnreadable as error:
        return Finding(
            "keys", "configuration", str(error), "bring the file back from a backup; cameras stay out until"
        )
    keyed = {entry.name for entry in keys if entry.role is Role.CAMERA}
    without = [camera.name for camera in settings.cameras if camera.name not in keyed]
    detail = f"the server's public key is {public}; {len(keys)} keys are authorized"
    if without:
        remedy = f"aprilgan-admin keys new {without[0]}, and carry the pair to that camera"
        return Finding("keys", "note", f"{detail}; without a key: {', '.join(without)}", remedy)
    return Finding("keys", "ok", detail)


def _pair_remedy(words: str) -> str:
    if "owner alone" in words:
        return (
            "chmod 600 the file; if others may have read it, make a new pair and give every camera its public half"
        )
    return "aprilgan-admin keys new --server"
