from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy_core.config import Limits, RegularMode, ReverseMode, Settings, parse_mode
from proxy_core.config_loader import load_settings
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
    assert settings.mode == RegularMode()
    assert not settings.insecure
    assert settings.ca_certificate == home / "data/int3rceptor/ca/int3rceptor-ca.pem"


def test_every_setting_can_be_given_in_the_file(file: Path) -> None:
    settings = load(
        file=file,
        content="""
            listen = "0.0.0.0:0"
            mode = "reverse:http://origin.example"
            plugins = ["one", "/two"]
            data_dir = "data"
            upstream_ca = "../roots.pem"
            insecure = true
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
        mode=ReverseMode("http", "origin.example", 80),
        plugins=(here / "one", Path("/two")),
        data_dir=here / "data",
        upstream_ca=here.parent / "roots.pem",
        insecure=True,
        limits=Limits(streams=7, idle_timeout=9.0, captured_body=0),
        keys={"flow.replay": "ctrl+r", "app.quit": "f10"},
    )
    assert isinstance(settings.limits.idle_timeout, float)


def test_every_setting_but_keys_can_be_given_in_the_environment() -> None:
    settings = load(
        environ={
            "INT3_LISTEN": "[::1]:9",
            "INT3_MODE": "reverse:https://[2001:db8::1]:8443/",
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
        mode=ReverseMode("https", "2001:db8::1", 8443),
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
    assert settings.mode == ReverseMode("http", "e", 80)
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
        ('mode = "socks9"', "some.toml: mode: 'socks9' is no mode; use regular or reverse"),
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
    ],
)
def test_mode_is_parsed_and_shown_so_that_it_can_be_parsed_again(
    spec: str, mode: RegularMode | ReverseMode
) -> None:
    assert parse_mode(spec) == mode
    assert parse_mode(str(mode)) == mode


@pytest.mark.parametrize("spec", ["", "Regular", "regular:", "regular:x", "socks5", "reverse"])
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
    for name in ("listen", "mode", "plugins", "data_dir", "upstream_ca", "insecure"):
        assert f"`{name}`" in manual
        assert f"`INT3_{name.upper()}`" in manual
        assert f"`--{name.replace('_', '-')}" in manual
    for limit in dataclasses.fields(Limits):
        assert f"| `{limit.name}` | {limit.default} |" in manual
