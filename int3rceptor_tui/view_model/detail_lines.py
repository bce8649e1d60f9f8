"""A flow's heads and facts as lines."""

from __future__ import annotations

import re
from collections import Counter

from int3rceptor_tui.view_model.formats import duration, size_in_words, stamp
from int3rceptor_tui.view_model.lines import Piece
from int3rceptor_tui.view_model.visible import visible
from proxy_core.control.views import ConnectionView, FlowDetail, HeadView
from proxy_core.model.flow import FlowState

Rows = list[list[Piece]]

_WHOLE_URL = re.compile(r"^(\S+ )https?://[^/ ]*(?=/)", re.IGNORECASE)
"""What clients of a proxy put before the path, and the proxy leaves out (RFC 9112, section 3.2)."""


def held_lines(flow: FlowDetail) -> Rows:
    """Return what stands above everything while a flow waits for the user."""
    if flow.summary.state is not FlowState.HELD:
        return []
    by = next((note for note in reversed(flow.notes) if note.startswith("held by ")), "held")
    keys: list[Piece] = [("a", "key"), (" lets it go on, ", ""), ("X", "key"), (" ends it", "")]
    return [[(f"{visible(by[:1].upper() + by[1:])}: ", "warn"), *keys], []]


def head_lines(head: HeadView, received: HeadView | None = None) -> Rows:
    """Return a head's lines; what was changed on the way is marked with + and -."""
    if received is None:
        return [[(visible(head.start_line), "heading")], *map(_field, head.fields)]
    rows: Rows = []
    if _WHOLE_URL.sub(r"\1", received.start_line) != head.start_line:
        rows.append([("- " + visible(received.start_line), "bad")])
    rows.append([(visible(head.start_line), "heading")])
    # Counted, for a field may stand there twice, and once before.
    gone = Counter(received.fields)
    gone.subtract(head.fields)
    new = -gone
    fields: Rows = []
    for field in reversed(head.fields):  # of the same ones, the last came later
        if new[field] > 0:
            new[field] -= 1
            fields.append(_changed(field, "+ ", "good"))
        else:
            fields.append(_field(field))
    rows += reversed(fields)
    rows += [_changed(field, "- ", "bad") for field in (+gone).elements()]
    return rows


def _field(field: tuple[str, str]) -> list[Piece]:
    return [(visible(field[0]), "key"), (": ", "dim"), (visible(field[1]), "")]


def _changed(field: tuple[str, str], mark: str, style: str) -> list[Piece]:
    return [(f"{mark}{visible(field[0])}: {visible(field[1])}", style)]


def fact_lines(flow: FlowDetail) -> Rows:
    """Return everything that is known of a flow besides its messages."""
    summary = flow.summary
    rows: Rows = []
    if summary.error:
        rows += [[("Error", "bad")], [("  " + visible(summary.error), "bad")], []]
    rows += [
        [("Flow", "heading")],
        _fact("number", str(summary.id)),
        _fact("state", summary.state.value),
        _fact("kind", summary.kind.value),
        _fact("url", flow.url),
        _fact("request body", size_in_words(summary.request_size)),
        _fact("response body", size_in_words(summary.response_size)),
    ]
    rows += [_fact("note", note) for note in flow.notes]
    rows += [_fact("edited by", who) for who in flow.edited_by]
    rows += [_fact(name, value) for name, value in flow.annotations.items()]
    rows += [[], [("Timing", "heading")], *_timing(flow)]
    rows += [[], [("Client", "heading")], *_connection(flow.client)]
    if flow.server is not None:
        rows += [[], [("Server", "heading")], *_connection(flow.server)]
    return rows


def _fact(name: str, value: str, style: str = "") -> list[Piece]:
    return [(f"  {visible(name):<14} ", "dim"), (visible(value), style)]


def _timing(flow: FlowDetail) -> Rows:
    start = flow.summary.started
    rows = [_fact("began", stamp(start))]
    points: list[tuple[str, float | None]] = [
        ("connected", _since_start(flow, "connected")),
        ("secured", _since_start(flow, "secured")),
        ("request sent", flow.request_sent),
        ("first byte", flow.first_byte),
        ("ended", flow.ended),
    ]
    last = start
    for name, at in points:
        if at is not None:
            step = duration(max(0.0, at - last))
            rows.append(_fact(name, f"{duration(max(0.0, at - start)):>7}  (+{step})"))
            last = at
    return rows


def _since_start(flow: FlowDetail, name: str) -> float | None:
    """Return when the server connection got somewhere, where that was during this flow."""
    at: float | None = getattr(flow.server, name, None)
    return at if at is not None and at >= flow.summary.started else None


def _connection(connection: ConnectionView) -> Rows:
    rows = [_fact("mode", connection.mode)] if connection.mode else []
    rows += [
        _fact("address", connection.address),
        _fact("connection", f"{connection.id}, opened {stamp(connection.opened)}"),
    ]
    tls = connection.tls
    if tls is None:
        return [*rows, _fact("TLS", "none")]
    rows += [
        _fact("TLS", f"{tls.version}, {tls.cipher}" if tls.version else "not with the proxy"),
        _fact("ALPN", _chosen(tls.alpn, tls.offered_alpn)),
        _fact("SNI", tls.sni or "none"),
    ]
    if tls.ja3:
        rows += [
            _fact("versions", ", ".join(tls.offered_versions)),
            _fact("JA3", tls.ja3),
            _fact("JA4", tls.ja4 or ""),
        ]
    else:
        words, style = ("verified", "") if tls.verified else ("not verified", "warn")
        rows.append(_fact("certificate", words, style))
    if tls.certificate is not None:
        shown = tls.certificate
        rows += [
            _fact("subject", shown.subject or "empty"),
            _fact("names", ", ".join(shown.names) or "none"),
            _fact("issuer", shown.issuer),
            _fact("valid", f"{stamp(shown.begins)[:10]} to {stamp(shown.ends)[:10]}"),
            _fact("SHA-256", shown.sha256),
        ]
    return rows


def _chosen(one: str | None, offered: tuple[str, ...]) -> str:
    others = f" (offered {', '.join(offered)})" if offered else ""
    return f"{one or 'none'}{others}"
