from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy_core.config import (
    Limits,
    Mode,
    ModeSpec,
    RegularMode,
    Replacement,
    ReverseMode,
    Settings,
    SocksMode,
    TransparentMode,
    UpstreamMode,
    join_host_port,
    parse_mode,
)
from proxy_core.config.loader import _NAMES, load_settings
from proxy_core.errors import ConfigError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    return home


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "conf" / "some.toml"


def load(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
    content: str | None = None,
) -> Settings:
    if file is not None and content is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return load_settings(flags or {}, environ or {}, file)


def test_defaults_are_what_the_manual_says(home: Path) -> None:
    settings = load()
    assert settings == Settings()
    assert (settings.listen_host, settings.listen_port) == ("127.0.0.1", 8080)
    assert settings.listeners == ((RegularMode(), "127.0.0.1", 8080),)
    assert not settings.insecure
    assert settings.ca_certificate == home / "data/int3rceptor/ca/int3rceptor-ca.pem"


def test_every_setting_can_be_given_in_the_file(file: Path) -> None:
    file.parent.mkdir(parents=True)
    (file.parent / "new.txt").write_bytes(b"new")
    settings = load(
        file=file,
        content="""
            listen = "0.0.0.0:0"
            mode = "reverse:http://origin.example"
            modify_messages = ["/a/b", "|~q|a|@new.txt"]
            drop_messages = ["~b tick"]
            plugins = ["one", "/two"]
            data_dir = "data"
            upstream_ca = "../roots.pem"
            insecure = true
            watch = true
            insecure_hosts = ["^10\\\\."]
            upstream_tls_min = "1.3"
            ignore_hosts = ["bank", "^a:443$"]
            proxy_auth = "me:secret"
            api = true
            api_token_file = "token"
            api_hosts = ["proxy.example"]
            [client_certs]
            "Api.Example" = "api.pem"
            [limits]
            streams = 7
            idle_timeout = 9
            captured_body = 0
            [keys]
            "flow.replay" = "ctrl+r"
            app.quit = "f10"
        """,
    )
    here = file.parent
    assert settings == Settings(
        listen_host="0.0.0.0",
        listen_port=0,
        mode=(ModeSpec(ReverseMode("http", "origin.example", 80)),),
        modify_messages=(Replacement("a", b"b"), Replacement("a", b"new", "~q")),
        drop_messages=("~b tick",),
        plugins=(here / "one", Path("/two")),
        data_dir=here / "data",
        upstream_ca=here.parent / "roots.pem",
        insecure=True,
        watch=True,
        insecure_hosts=("^10\\.",),
        upstream_tls_min="1.3",
        ignore_hosts=("bank", "^a:443$"),
        proxy_auth="me:secret",
        api=("127.0.0.1", 3000),
        api_token_file=here / "token",
        api_hosts=("proxy.example",),
        client_certs={"api.example": here / "api.pem"},
        limits=Limits(streams=7, idle_timeout=9.0, captured_body=0),
        keys={"flow.replay": "ctrl+r", "app.quit": "f10"},
    )
    assert isinstance(settings.limits.idle_timeout, float)


def test_every_setting_but_keys_can_be_given_in_the_environment() -> None:
    settings = load(
        environ={
            "INT3_LISTEN": "[::1]:9",
            "INT3_MODE": "reverse:https://[2001:db8::1]:8443/ socks5@1080",
            "INT3_CLIENT_CERT": "mine.pem H=~/h.pem",
            "INT3_IGNORE_HOSTS": "a b",
            "INT3_LENIENT": "on",
            "INT3_DROP_MESSAGES": "~b tick tack\n~q",
            "INT3_PLUGINS": os.pathsep.join(["a", "", "~/b"]),
            "INT3_DATA_DIR": "d",
            "INT3_UPSTREAM_CA": "~/ca.pem",
            "INT3_INSECURE": "Yes",
            "INT3_LIMITS_HEAD_BYTES": "4_096",
            "INT3_LIMITS_CONNECT_TIMEOUT": "2.5",
            "INT3_CONFIG": "",
            "INT3_BENCH_ANYTHING": "1",
            "PATH": "/bin",
        }
    )
    here, home = Path.cwd(), Path.home()
    assert settings == Settings(
        listen_host="::1",
        listen_port=9,
        mode=(
            ModeSpec(ReverseMode("https", "2001:db8::1", 8443)),
            ModeSpec(SocksMode(), None, 1080),
        ),
        client_certs={"*": here / "mine.pem", "h": home / "h.pem"},
        ignore_hosts=("a", "b"),
        lenient=True,
        drop_messages=("~b tick tack", "~q"),
        plugins=(here / "a", home / "b"),
        data_dir=here / "d",
        upstream_ca=home / "ca.pem",
        insecure=True,
        limits=Limits(head_bytes=4096, connect_timeout=2.5),
    )


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Limits)])
def test_every_limit_has_its_variable_and_its_key(name: str, file: Path) -> None:
    by_variable = load(environ={f"INT3_LIMITS_{name.upper()}": "3"})
    by_key = load(file=file, content=f"[limits]\n{name} = 3\n")
    assert by_variable == by_key == Settings(limits=dataclasses.replace(Limits(), **{name: 3}))
    assert type(getattr(by_variable.limits, name)) is type(getattr(Limits(), name))


def test_flags_go_before_environment_before_file_before_defaults(file: Path) -> None:
    content = 'listen = "f:1"\nmode = "reverse:http://f"\nplugins = ["f"]\n[limits]\nstreams = 1\n'
    environ = {"INT3_LISTEN": "e:2", "INT3_MODE": "reverse:http://e", "INT3_LIMITS_STREAMS": "2"}
    flags = {"listen": "g:3", "mode": None, "plugins": None, "insecure": None}
    settings = load(flags, environ, file, content)
    assert (settings.listen_host, settings.listen_port) == ("g", 3)
    assert settings.mode == (ModeSpec(ReverseMode("http", "e", 80)),)
    assert settings.plugins == (file.parent / "f",)
    assert settings.limits == Limits(streams=2)


def test_flags_alone_are_enough() -> None:
    settings = load({"plugins": [Path("p"), "/q"], "insecure": False, "data_dir": Path("d")})
    assert settings.plugins == (Path.cwd() / "p", Path("/q"))
    assert settings.data_dir == Path.cwd() / "d"


def test_base_gives_other_defaults(file: Path) -> None:
    base = Settings(listen_port=0, limits=Limits(streams=5), keys={"a": "x", "b": "x"})
    file.parent.mkdir()
    file.write_text('[limits]\nlog_lines = 4\n[keys]\nb = "y"\n')
    settings = load_settings({}, {}, file, base)
    assert settings.listen_port == 0
    assert settings.limits == Limits(streams=5, log_lines=4)
    assert settings.keys == {"a": "x", "b": "y"}


def test_file_in_the_users_configuration_is_read(home: Path) -> None:
    default = home / "config/int3rceptor/int3rceptor.toml"
    load(file=default, content="insecure = true")
    assert load().insecure


def test_file_in_the_working_directory_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "int3rceptor.toml").write_text("insecure = true")
    monkeypatch.chdir(tmp_path)
    assert not load().insecure


def test_named_file_goes_before_the_variable_before_the_default(home: Path, file: Path) -> None:
    for number, place in enumerate(
        [home / "config/int3rceptor/int3rceptor.toml", home / "x", file]
    ):
        load(file=place, content=f'listen = "h:{number}"')
    environ = {"INT3_CONFIG": "~/x"}
    assert load().listen_port == 0
    assert load(environ=environ).listen_port == 1
    assert load(environ=environ, file=file).listen_port == 2


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("lisen = 1", "unknown setting lisen in .*some.toml; the nearest one is listen"),
        (
            "[limits]\nstream = 1",
            r"unknown setting limits\.stream in .* nearest one is limits\.stre",
        ),
        ("limits = 3", r"limits = 3: not a table; write \[limits\]"),
        ("[limit]\nstreams = 1", "unknown setting limit in"),
        ("[listen]\nhost = 1", "listen = .*: not a text"),
        ("keys = 3", "keys = 3: not a table"),
        (
            '[limits]\nstreams = "7"',
            r"some.toml: limits\.streams = '7': not a number; write a whole",
        ),
        ("[limits]\nstreams = true", "limits.streams = True: not a number"),
        ("[limits]\nstreams = 1.5", "1.5: not a whole number"),
        ("[limits]\nstreams = -1", "-1: out of range; write a whole number above 0"),
        ("[limits]\nstreams = 0", "0: nothing would pass"),
        ("[limits]\nstreams = 1_000_000_000_000_000", "out of range"),
        ("[limits]\nidle_timeout = nan", "nan: out of range; write a number of seconds"),
        ("[limits]\nidle_timeout = inf", "inf: out of range"),
        ("[limits]\nidle_timeout = -0.5", "-0.5: out of range"),
        ("listen = 8080", "listen = 8080: not a text; put it in quotes"),
        ('insecure = "true"', "insecure = 'true': neither true nor false"),
        ('plugins = "dir"', "plugins = 'dir': not a list"),
        ("plugins = [3]", "plugins = 3: not a path"),
        ('data_dir = ""', "data_dir = '': not a path"),
        ('data_dir = "a\\u0000b"', "not a path"),
        ('data_dir = "~nobody-of-that-name/x"', "a home directory that is not known"),
        ("mode = []", "mode = \\[\\]: no mode"),
        ('ignore_hosts = ["("]', r"ignore_hosts = '\(': no regular expression"),
        ('ignore_hosts = ["a{99999999999}"]', "no regular expression"),
        (f'ignore_hosts = ["{"(" * 3000}{")" * 3000}"]', "no regular expression"),
        ('connect_address = "origin.example:0"', "port 0 cannot be connected to"),
        ("proxy_auth = 3", "some.toml: proxy_auth: not USER:PASSWORD; write that, or @FILE"),
        ('proxy_auth = "secret"', "some.toml: proxy_auth: not USER:PASSWORD"),
        ('proxy_auth = ":secret"', "some.toml: proxy_auth: not USER:PASSWORD"),
        ('proxy_auth = "@"', "some.toml: proxy_auth: not USER:PASSWORD"),
        ('proxy_auth = "@~nobody-of-that-name/x"', "a home directory that is not known"),
        ('client_cert = ["=mine.pem"]', "client_cert = '=mine.pem': not HOST=FILE"),
        ('client_cert = ["host="]', "client_cert = 'host=': not HOST=FILE"),
        ("upstream_tls_min = 1.2", "upstream_tls_min = 1.2: no version of TLS"),
        ('mode = "socks9"', "some.toml: mode: 'socks9' is no mode; use regular, reverse"),
        ('[keys]\n"flow.replay" = 3', r"keys\.flow\.replay = 3: not a text"),
        ("\nlisten = x", r"some.toml is no TOML: .*line 2.*; mend it"),
        ("# \0", "is no TOML"),
    ],
)
def test_fault_in_the_file_is_told_with_its_place(content: str, complaint: str, file: Path) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load(file=file, content=content)


@pytest.mark.parametrize(
    ("variable", "text", "complaint"),
    [
        ("INT3_LISEN", "x", "unknown setting INT3_LISEN in the environment; .* is INT3_LISTEN"),
        ("INT3_LISEN", "", "unknown setting INT3_LISEN"),
        ("INT3_CONFG", "x", "the nearest one is INT3_CONFIG"),
        ("INT3_QQQQ", "x", "unknown setting INT3_QQQQ"),
        ("INT3_INSECURE", "maybe", "INT3_INSECURE = 'maybe': neither true nor false"),
        ("INT3_LIMITS_STREAMS", "many", "INT3_LIMITS_STREAMS = 'many': not a number"),
        ("INT3_LIMITS_STREAMS", "1e3", "1000.0: not a whole number"),
        ("INT3_LIMITS_STREAMS", "-4", "-4: out of range"),
        ("INT3_CONFIG", "/no/such/file", "/no/such/file does not exist; name another"),
        ("INT3_CONFIG", "~nobody-of-that-name/x", "nobody's home is known by that name"),
    ],
)
def test_fault_in_the_environment_is_told_with_its_variable(
    variable: str, text: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load(environ={variable: text})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("8080", "not HOST:PORT; write something like 127.0.0.1:8080"),
        (":8080", "not HOST:PORT"),
        ("localhost", "not HOST:PORT"),
        ("localhost:", "not HOST:PORT"),
        ("localhost:http", "not HOST:PORT"),
        ("localhost:-1", "not HOST:PORT"),
        ("localhost:²", "not HOST:PORT"),
        ("[]:80", "not HOST:PORT"),
        ("localhost:65536", "65536 is no port; use 1 to 65535, or 0"),
        ("localhost:" + "9" * 5000, "is no port"),
        ("::1:8080", "brackets are for IPv6 addresses"),
        ("[localhost]:80", "brackets are for IPv6 addresses"),
    ],
)
def test_listen_that_is_no_address_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=f"--listen = .*{complaint}"):
        load({"listen": text})


def test_flag_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting --lissen among the flags; .* listen"):
        load({"lissen": "x"})


def test_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml does not exist; name another with --config"):
        load(file=tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"cannot be read \(is a directory\)"):
        load(file=tmp_path)


def test_file_that_is_not_utf8_or_endless_is_refused(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"# \xff")
    with pytest.raises(ConfigError, match="is no TOML"):
        load(file=file)
    with pytest.raises(ConfigError, match="/dev/zero is larger than"):
        load(file=Path("/dev/zero"))


@pytest.mark.parametrize(
    ("spec", "mode"),
    [
        ("regular", RegularMode()),
        ("reverse:https://Origin.Example", ReverseMode("https", "origin.example", 443)),
        ("reverse:http://origin.example/", ReverseMode("http", "origin.example", 80)),
        ("reverse:HTTP://127.0.0.1:81", ReverseMode("http", "127.0.0.1", 81)),
        ("reverse:https://[::1]:8443", ReverseMode("https", "::1", 8443)),
        ("reverse:https://bücher.example", ReverseMode("https", "bücher.example", 443)),
        ("reverse:tcp://db.example:5432", ReverseMode("tcp", "db.example", 5432)),
        ("reverse:tls://[::1]:993", ReverseMode("tls", "::1", 993)),
        ("upstream:http://proxy.example", UpstreamMode("http", "proxy.example", 80)),
        ("upstream:https://[::1]:3129", UpstreamMode("https", "::1", 3129)),
        ("socks5", SocksMode()),
        ("transparent", TransparentMode()),
    ],
)
def test_mode_is_parsed_and_shown_so_that_it_can_be_parsed_again(spec: str, mode: Mode) -> None:
    assert parse_mode(spec) == ModeSpec(mode)
    assert parse_mode(str(mode)) == ModeSpec(mode)


_PARENT = UpstreamMode("http", "proxy", 3128)


@pytest.mark.parametrize(
    ("spec", "parsed"),
    [
        ("regular@8081", ModeSpec(RegularMode(), None, 8081)),
        ("regular@0", ModeSpec(RegularMode(), None, 0)),
        ("socks5@[::1]:1080", ModeSpec(SocksMode(), "::1", 1080)),
        (
            "reverse:http://o.example:81@127.0.0.1:9",
            ModeSpec(ReverseMode("http", "o.example", 81), "127.0.0.1", 9),
        ),
        ("upstream:http://proxy:3128@8081", ModeSpec(_PARENT, None, 8081)),
        ("upstream:http://proxy:3128@127.0.0.1:8081", ModeSpec(_PARENT, "127.0.0.1", 8081)),
        (
            "upstream:http://me:se%40cret@proxy:3128",
            ModeSpec(UpstreamMode("http", "proxy", 3128, "me:se@cret")),
        ),
        (
            "upstream:https://me:secret@proxy:3128@[::]:8081",
            ModeSpec(UpstreamMode("https", "proxy", 3128, "me:secret"), "::", 8081),
        ),
    ],
)
def test_mode_may_say_where_it_listens(spec: str, parsed: ModeSpec) -> None:
    assert parse_mode(spec) == parsed


def test_secrets_are_in_no_mode_as_it_is_shown_nor_in_a_complaint() -> None:
    assert "secret" not in str(UpstreamMode("http", "proxy", 3128, "me:secret"))
    with pytest.raises(ConfigError) as raised:
        parse_mode("upstream:ftp://me:secret@proxy:3128")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("spec", ["socks5@", "regular@80x", "transparent@host", "socks5@1:65536"])
def test_mode_at_what_is_no_address_is_refused(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"HOST:PORT|is no port"):
        parse_mode(spec)


def test_two_modes_at_one_address_are_refused() -> None:
    with pytest.raises(ConfigError, match="two modes listen at the same address"):
        load({"mode": ["regular", "socks5"]})
    settings = load({"mode": ["regular", "socks5@1080"]})
    assert settings.listeners == (
        (RegularMode(), "127.0.0.1", 8080),
        (SocksMode(), "127.0.0.1", 1080),
    )


@pytest.mark.parametrize("spec", ["", "Regular", "regular:", "regular:x", "socks", "reverse"])
def test_unknown_mode_is_refused(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"is no mode|names no origin"):
        parse_mode(spec)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "origin.example",
        "ftp://origin.example",
        "https://",
        "https:///path",
        "https://:443",
        "https://o.example/path",
        "https://o.example?q",
        "https://o.example#f",
        "https://user@o.example",
        "https://o.example:0",
        "https://o.example:65536",
        "https://o.example:port",
        "https://[::1",
        "https://a b",
        "https://o.example\n",
        "https://o.example\\x",
    ],
)
def test_reverse_to_what_is_no_origin_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="names no origin; write reverse:https://HOST:PORT"):
        parse_mode(f"reverse:{url}")


def test_manual_has_every_setting_and_every_limits_default() -> None:
    manual = (Path(__file__).parents[1] / "docs/configuration.md").read_text()
    for name in set(_NAMES) - {f"limits.{limit.name}" for limit in dataclasses.fields(Limits)}:
        assert f"`{name}`" in manual
        assert f"`INT3_{name.upper()}`" in manual
        assert f"`--{name.replace('_', '-')}" in manual
    for limit in dataclasses.fields(Limits):
        assert f"| `{limit.name}` | {limit.default} |" in manual


_HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{2,9}){0,2}", fullmatch=True)
_ADDRESSES = _HOSTS | st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str)
_MODES = st.one_of(
    st.sampled_from([RegularMode(), SocksMode(), TransparentMode()]),
    st.builds(
        ReverseMode,
        st.sampled_from(["http", "https", "tcp", "tls"]),
        _ADDRESSES,
        st.integers(1, 65535),
    ),
    st.builds(UpstreamMode, st.sampled_from(["http", "https"]), _ADDRESSES, st.integers(1, 65535)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_MODES, st.none() | st.integers(0, 65535), st.none() | _ADDRESSES)
def test_any_mode_that_is_shown_is_parsed_again(
    mode: Mode, port: int | None, host: str | None
) -> None:
    place = "" if port is None else f"@{join_host_port(host, port) if host else port}"
    expected = ModeSpec(mode, host if port is not None else None, port)
    assert parse_mode(f"{mode}{place}") == expected


_BITS = [
    "regular",
    "reverse",
    "upstream",
    "socks5",
    ":",
    "//",
    "http",
    "https",
    "tcp",
    "@",
    "[",
    "]",
]
_BITS += ["::1", "a", "1", "65536", "/", "%", " ", "\n", "\0", "ü", "?", "#"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30) | st.lists(st.sampled_from(_BITS), max_size=9).map("".join))
def test_any_text_is_a_mode_or_refused(text: str) -> None:
    try:
        spec = parse_mode(text)
    except ConfigError:
        return
    assert spec.port is None or 0 <= spec.port <= 65535
    assert not isinstance(spec.mode, ReverseMode | UpstreamMode) or spec.mode.host


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("on", ("127.0.0.1", 3000)),
        ("True", ("127.0.0.1", 3000)),
        ("off", None),
        ("[::1]:4", ("::1", 4)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_the_api_is_switched_on_or_told_where_to_listen(
    text: str, address: tuple[str, int] | None
) -> None:
    assert load(environ={"INT3_API": text}).api == address


def test_the_api_s_token_lies_in_the_data_directory_unless_named() -> None:
    assert load({"data_dir": "/d"}).api_token == Path("/d/api/token")
    assert load({"data_dir": "/d", "api_token_file": "/t"}).api_token == Path("/t")


@pytest.mark.parametrize("value", ["3000", "maybe", 3000, ""])
def test_an_api_that_is_no_address_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="--api = "):
        load({"api": value})


@pytest.mark.parametrize("name", ["http://a.example", "a.example:3000", "a b", "", "*"])
def test_an_api_host_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--api-hosts"):
        load({"api_hosts": [name]})


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"keep_host": True}, ["keep_host is for reverse modes"]),
        ({"connect_address": "h:1", "mode": ["socks5"]}, ["connect_address is for reverse modes"]),
        ({"connect_address": "h:1", "keep_host": True, "mode": ["reverse:http://h"]}, []),
        ({"proxy_auth": "me:secret", "mode": ["regular", "socks5@1", "upstream:http://h@2"]}, []),
        (
            {"proxy_auth": "me:secret", "mode": ["transparent", "reverse:http://h@1"]},
            ["clients of transparent are asked for", "clients of reverse:http://h:80 are asked"],
        ),
    ],
)
def test_what_has_no_effect_is_told(flags: dict[str, object], told: list[str]) -> None:
    sentences = load(flags).without_effect
    assert len(sentences) == len(told)
    for sentence, begin in zip(sentences, told, strict=True):
        assert sentence.startswith(begin)
        assert "secret" not in sentence
