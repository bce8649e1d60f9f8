"""What the h2 library keeps of a connection, in a tenth of the room: most connections lie idle.

The library's own containers cost 20 kB a connection, as long as it lasts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from h2.config import H2Configuration
from h2.settings import ChangedSetting, SettingCodes, Settings
from h2.stream import StreamClosedBy

_ENDED_KEPT = 64
_RESET_KEPT = 1024
_KNOWN = frozenset(SettingCodes)

CONFIGURATIONS = {
    client_side: H2Configuration(
        client_side=client_side,
        header_encoding=None,
        validate_inbound_headers=False,
        normalize_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
    )
    for client_side in (False, True)
}
"""By whether we are the client; never changed."""


class _Values(list[int]):
    """What the library wants a deque for, whose smallest has 64 places."""

    __slots__ = ()

    def popleft(self) -> int:
        return self.pop(0)


class PeerSettings(Settings):
    """What a peer has set; defaults at first. Peers that have set the same share the values."""

    def __init__(self, client: bool) -> None:
        """`client` tells whether the peer is one."""
        super().__init__(client)
        self._share()

    def __setitem__(self, key: SettingCodes | int, value: int) -> None:
        if key in _KNOWN:  # others are ignored (RFC 9113, section 6.5.2)
            values = _Values(self._settings.get(key, (None,)))  # type: ignore[arg-type]
            self._settings = {**self._settings, key: values}  # type: ignore[dict-item]
            super().__setitem__(key, value)

    def acknowledge(self) -> dict[SettingCodes | int, ChangedSetting]:
        """See `Settings.acknowledge`."""
        changes = super().acknowledge()
        self._share()
        return changes

    @property
    def settled(self) -> Any:
        """All values, in an object that is shared and never changed; what a new one may begin with.

        Nothing is under way once `acknowledge` was called, which the library does at once.
        """
        return self._settings

    @settled.setter
    def settled(self, values: Any) -> None:
        self._settings = values

    def _share(self) -> None:
        if all(len(values) == 1 for values in self._settings.values()):
            self._settings = _settled(
                tuple([(key, values[0]) for key, values in self._settings.items()])
            )


@lru_cache(maxsize=256)
def _settled(values: tuple[tuple[SettingCodes | int, int], ...]) -> Any:
    """Return what the library keeps settings in, with nothing under way."""
    return {key: _Values([value]) for key, value in values}


@lru_cache(maxsize=16)
def own_settings(
    client_side: bool, stream_window: int, max_streams: int, max_head: int
) -> Settings:
    """Return what we set; the same object for all connections, as it is never changed.

    Values put into the library's own object would count as sent, and would not be.
    """
    settings: dict[SettingCodes, int] = {
        SettingCodes.INITIAL_WINDOW_SIZE: stream_window,
        SettingCodes.MAX_CONCURRENT_STREAMS: max_streams,
        SettingCodes.MAX_HEADER_LIST_SIZE: max_head,
    }
    if client_side:
        settings[SettingCodes.ENABLE_PUSH] = 0
    else:
        settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
    return Settings(client=client_side, initial_values=settings)


class ClosedStreams:
    """How streams ended, the newest of them: what still comes on one depends on it.

    A stream that was reset may have frames on their way; one that has ended may not.
    """

    __slots__ = ("_ended", "_reset")

    def __init__(self) -> None:
        self._ended: dict[int, StreamClosedBy | None] = {}
        self._reset: dict[int, StreamClosedBy | None] = {}

    def __setitem__(self, stream_id: int, how: StreamClosedBy | None) -> None:
        was_reset = how in (StreamClosedBy.SEND_RST_STREAM, StreamClosedBy.RECV_RST_STREAM)
        kept, most = (self._reset, _RESET_KEPT) if was_reset else (self._ended, _ENDED_KEPT)
        if len(kept) >= most:
            del kept[next(iter(kept))]
        kept[stream_id] = how

    def __contains__(self, stream_id: int) -> bool:
        return stream_id in self._reset or stream_id in self._ended

    def __getitem__(self, stream_id: int) -> StreamClosedBy | None:
        return self._reset[stream_id] if stream_id in self._reset else self._ended[stream_id]

    def forget_ends(self) -> None:
        """Keep no more than which streams were reset.

        What comes on any other stream that is over is an error of the connection all the same.
        """
        self._ended.clear()

    def __len__(self) -> int:
        return len(self._ended) + len(self._reset)
