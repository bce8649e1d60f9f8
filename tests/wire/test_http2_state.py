from __future__ import annotations

import pytest
from h2.exceptions import InvalidSettingsValueError
from h2.settings import SettingCodes, Settings
from h2.stream import StreamClosedBy

from proxy_core.wire.http2_state import ClosedStreams, PeerSettings, own_settings


@pytest.mark.parametrize("client", [False, True])
def test_a_peer_s_settings_do_what_the_library_s_do(client: bool) -> None:
    ours, library = PeerSettings(client), Settings(client)
    assert dict(ours) == dict(library)
    for settings in (ours, library):
        settings.update({SettingCodes.INITIAL_WINDOW_SIZE: 1, SettingCodes.MAX_HEADER_LIST_SIZE: 2})
        settings.update({SettingCodes.INITIAL_WINDOW_SIZE: 3})
    for _ in range(3):
        changes = [
            {code: (change.original_value, change.new_value) for code, change in made.items()}
            for made in (ours.acknowledge(), library.acknowledge())
        ]
        assert changes[0] == changes[1]
        assert dict(ours) == dict(library)
    assert ours.initial_window_size == 3


def test_unknown_settings_are_ignored_and_bad_ones_refused() -> None:
    settings = PeerSettings(client=True)
    before = len(settings)
    for code in range(0x20, 0x2000):
        settings[code] = 1
    assert len(settings) == before
    with pytest.raises(InvalidSettingsValueError):
        settings[SettingCodes.MAX_FRAME_SIZE] = 1


def test_our_settings_are_made_once() -> None:
    ours = own_settings(False, 65536, 100, 8192)
    assert own_settings(False, 65536, 100, 8192) is ours
    assert ours.acknowledge() == {}  # nothing is under way: they count as they are sent
    assert (ours.max_concurrent_streams, ours.max_header_list_size) == (100, 8192)
    assert own_settings(True, 65536, 100, 8192).enable_push == 0


def test_how_streams_ended_is_kept_of_the_newest() -> None:
    closed = ClosedStreams()
    closed[1] = StreamClosedBy.SEND_RST_STREAM
    for number in range(3, 20_001, 2):
        closed[number] = StreamClosedBy.RECV_END_STREAM
    assert len(closed) == 65
    assert closed[1] is StreamClosedBy.SEND_RST_STREAM
    assert closed[19_999] is StreamClosedBy.RECV_END_STREAM
    assert 3 not in closed
    for number in range(20_001, 40_001, 2):
        closed[number] = StreamClosedBy.RECV_RST_STREAM
    assert len(closed) == 64 + 1024
    assert 1 not in closed
    assert 39_999 in closed
    closed.forget_ends()
    assert len(closed) == 1024
    assert 39_999 in closed
