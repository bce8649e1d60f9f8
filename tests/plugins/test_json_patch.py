"""json-patch: its configuration's operations, no more and no less, and every other byte stays."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from proxy_core.model.edits import WholeBody
from proxy_core.model.log_line import LogLevel
from proxy_core.model.plugin_status import PluginState
from proxy_core.model.verdict import CONTINUE
from tests.plugin_host.guests import Host, make_flow, respond_with
from tests.plugins.conftest import install

MIB = 1024 * 1024
BACKSLASHES = "\\\\"
FUEL = 4_000_000_000
"""What its manifest allows."""


async def start(host: Host, directory: Path, *patches: dict[str, Any]) -> None:
    """Load it, enabled, with these patches, as JSON from a file."""
    configure(host, directory, json.dumps({"patches": patches}, ensure_ascii=False))
    assert (await host.start()).refused == ()


def configure(host: Host, directory: Path, config: str) -> None:
    manifest = install(host, directory, "json-patch")
    text = manifest.read_text().replace("enabled = false", 'config_file = "patches.json"')
    manifest.write_text(text.partition("[[config")[0], encoding="utf-8")
    (manifest.parent / "patches.json").write_text(config, encoding="utf-8")


async def patched(host: Host, body: str | bytes, *, response: bool = True) -> str:
    """What becomes of a body."""
    raw = body.encode() if isinstance(body, str) else body
    flow = make_flow()
    if response:
        respond_with(flow)
    flow.whole = WholeBody(raw)
    assert await (host.response if response else host.request)(flow) is CONTINUE
    assert host.status("json-patch").traps == 0, host.texts()
    return flow.whole.data.decode("utf-8", "surrogateescape")


def operation(op: str, path: str, **rest: Any) -> dict[str, Any]:
    return {"op": op, "path": path, **rest}


async def one(host: Host, directory: Path, body: str, *operations: dict[str, Any]) -> str:
    await start(host, directory, {"operations": operations})
    return await patched(host, body)


ADD, REMOVE, REPLACE, MOVE, COPY, TEST = "add", "remove", "replace", "move", "copy", "test"


@pytest.mark.parametrize(
    ("body", "operations", "made"),
    [
        ('{"a": 1.50 }', [operation(ADD, "/b", value=[None])], '{"a": 1.50,"b":[null] }'),
        ('{"a":1}', [operation(ADD, "/a", value=2)], '{"a":2}'),
        ("{ }", [operation(ADD, '/"\\\n\u00e9', value=1)], '{"\\"\\\\\\u000a\u00e9":1 }'),
        ("[1, 2]", [operation(ADD, "/1", value=9)], "[1, 9,2]"),
        ("[1, 2]", [operation(ADD, "/2", value=9)], "[1, 2,9]"),
        ("[1, 2]", [operation(ADD, "/-", value=9)], "[1, 2,9]"),
        ("[]", [operation(ADD, "/0", value=9)], "[9]"),
        ("5", [operation(ADD, "", value={"a": 1})], '{"a": 1}'),
        (' {"a":1}\n', [operation(REPLACE, "", json="null")], " null\n"),
        ('{"a":1, "b":2 ,"c":3}', [operation(REMOVE, "/b")], '{"a":1 ,"c":3}'),
        ('{"a":1, "b":2}', [operation(REMOVE, "/a")], '{"b":2}'),
        ('{"a":1, "b":2 }', [operation(REMOVE, "/b")], '{"a":1 }'),
        ('{ "a":1 }', [operation(REMOVE, "/a")], "{  }"),
        ("[1,2,3]", [operation(REMOVE, "/0")], "[2,3]"),
        ("[[1],2]", [operation(REMOVE, "/0/0")], "[[],2]"),
        ('{"a":{"b":1e400}}', [operation(REPLACE, "/a/b", json=" 1.0 ")], '{"a":{"b":1.0}}'),
        ('{"a/b":1,"m~n":2}', [operation(REPLACE, "/a~1b", value=0)], '{"a/b":0,"m~n":2}'),
        ('{"a/b":1,"m~n":2}', [operation(REMOVE, "/m~0n")], '{"a/b":1}'),
        ('{"~1":1}', [operation(REPLACE, "/~01", value=0)], '{"~1":0}'),
        ('{"":{"":1}}', [operation(REPLACE, "//", value=0)], '{"":{"":0}}'),
        (
            '{"\\u00e9\\ud83d\\ude00":1}',
            [operation(REPLACE, "/\u00e9\U0001f600", value=0)],
            '{"\\u00e9\\ud83d\\ude00":0}',
        ),
        ('{"a":{"b":1},"c":[]}', [operation(MOVE, "/c/0", **{"from": "/a/b"})], '{"a":{},"c":[1]}'),
        ('{"a":1,"b":2}', [operation(MOVE, "/b", **{"from": "/a"})], '{"b":1}'),
        ('{"a":1}', [operation(MOVE, "/a", **{"from": "/a"})], '{"a":1}'),
        ("[1,2,3]", [operation(MOVE, "/2", **{"from": "/0"})], "[2,3,1]"),
        (
            '{"a":{"b":[1 , 2]}}',
            [operation(COPY, "/c", **{"from": "/a/b"})],
            '{"a":{"b":[1 , 2]},"c":[1 , 2]}',
        ),
        ('{"a":1}', [operation(COPY, "/b", **{"from": ""})], '{"a":1,"b":{"a":1}}'),
        ('{"a":1}', [operation(TEST, "/a", value=1), operation(REMOVE, "/a")], "{}"),
        ('\ufeff{"a":1}', [operation(REMOVE, "/a")], "\ufeff{}"),
        ('{"a":1}', [operation(ADD, "/a", value=2, comment="ignored")], '{"a":2}'),
    ],
)
async def test_operations(
    host: Host, directory: Path, body: str, operations: list[dict[str, Any]], made: str
) -> None:
    assert await one(host, directory, body, *operations) == made
    assert dict(host.status("json-patch").metrics) == {"patched": 1}


@pytest.mark.parametrize(
    ("body", "failing", "why"),
    [
        ('{"a":1}', operation(REMOVE, "/b"), "there is nothing at its path"),
        ('{"a":1}', operation(REPLACE, "/b", value=1), "there is nothing at its path"),
        ('{"a":1}', operation(ADD, "/b/c", value=1), "there is nothing at its path"),
        ('{"a":1}', operation(TEST, "/b", value=1), "there is nothing at its path"),
        ('{"a":1}', operation(COPY, "/c", **{"from": "/b"}), "there is nothing at its path"),
        ('{"a":1}', operation(ADD, "/a/c", value=1), "what is on the way is neither an object nor"),
        ('{"a":[1]}', operation(ADD, "/a/2", value=1), "an array has no such index"),
        ('{"a":[1]}', operation(REMOVE, "/a/01"), "an array has no such index"),
        ('{"a":[1]}', operation(REMOVE, "/a/x"), "an array has no such index"),
        ('{"a":[1]}', operation(REMOVE, "/a/1"), "there is nothing at its path"),
        ('{"a":[1]}', operation(REMOVE, "/a/-"), "there is nothing at its path"),
        ('{"a":[1]}', operation(REMOVE, "/a/4294967296"), "an array has no such index"),
        ('{"a":1,"b":2,"b":3}', operation(REMOVE, "/b"), "a name on its path occurs twice"),
        ('{"a":1}', operation(REMOVE, ""), "the whole document cannot be removed"),
    ],
)
async def test_what_cannot_be_done_undoes_its_patch_and_no_other(
    host: Host, directory: Path, body: str, failing: dict[str, Any], why: str
) -> None:
    await start(
        host,
        directory,
        {"operations": [operation(ADD, "/first", value=1)]},
        {"operations": [operation(ADD, "/second", value=2), failing, operation(REMOVE, "/a")]},
        {"operations": [operation(ADD, "/third", value=3)]},
    )
    assert await patched(host, body) == body[:-1] + ',"first":1,"third":3}'
    (told,) = host.texts(LogLevel.WARN)
    assert told.startswith(f"patch 2, operation 2: {why}")
    assert told.endswith("; none of the patch is applied")


@pytest.mark.parametrize(
    ("found", "wanted", "equal"),
    [
        ("1.0", "1", True),
        ("-0.0e5", "0", True),
        ("100e-2", "0.01E2", True),
        ("12345678901234567890123", "12345678901234567890124", False),
        ("1e9999999999999999999", "1e9999999999999999998", True),  # beyond what is told apart
        ("1e2", "1e3", False),
        ("-1", "1", False),
        ("1", '"1"', False),
        ("true", "true", True),
        ("true", "false", False),
        ("null", "0", False),
        ('"\\u0061\\/\\ud83d\\ude00"', '"a/\U0001f600"', True),
        ('"\\ud83d"', '"\\ud83d"', True),
        ('"a"', '"ab"', False),
        ('"ab"', '"a"', False),
        ('[1, [2], {"a" : []}]', '[1.0,[2],{"a":[]}]', True),
        ("[1,2]", "[2,1]", False),
        ("[1]", "[1,2]", False),
        ("[1,2]", "[1]", False),
        ('{"a":1,"b":{"c":[]}}', '{"b":{"c":[]},"a":1}', True),
        ('{"a":1}', '{"a":1,"b":2}', False),
        ('{"a":1,"b":2}', '{"a":1}', False),
        ('{"a":1,"b":2}', '{"a":1,"c":2}', False),
        ("{}", "[]", False),
        ("[]", "{}", False),
    ],
)
async def test_a_test_compares_values_and_not_how_they_are_written(
    host: Host, directory: Path, found: str, wanted: str, equal: bool
) -> None:
    body = f'{{"a":[{found}]}}'
    made = await one(
        host,
        directory,
        body,
        operation(REPLACE, "/a/0", json=found),
        operation(TEST, "/a/0", json=wanted),
        operation(ADD, "/b", value=1),
    )
    assert made == (f'{{"a":[{found}],"b":1}}' if equal else body)
    assert host.texts(LogLevel.WARN) == []


async def test_patches_are_for_their_side_and_url(host: Host, directory: Path) -> None:
    def marking(name: str, **rest: str) -> dict[str, Any]:
        return {"operations": [operation(ADD, f"/{name}", value=1)], **rest}

    await start(
        host,
        directory,
        marking("request", **{"in": "request"}),
        marking("response", **{"in": "response"}),
        marking("exact", url="http://example.com/path?q=1"),
        marking("part", url="http://example.com/path"),
        marking("wild", url="http://*/p*th?*1"),
        marking("stars", url="**=**"),
        marking("none", url=""),
        marking("other", url="https://*"),
    )
    seen = {"exact": 1, "wild": 1, "stars": 1}
    assert json.loads(await patched(host, "{}", response=False)) == {"request": 1, **seen}
    assert json.loads(await patched(host, "{}")) == {"response": 1, **seen}


async def test_a_body_that_no_patch_is_for_is_not_read(host: Host, directory: Path) -> None:
    await start(host, directory, {"url": "https://*", "operations": []})
    assert await patched(host, "no JSON") == "no JSON"
    assert host.texts() == []
    assert host.status("json-patch").metrics == ()


@pytest.mark.parametrize(
    "body",
    [
        "<html>",
        "{",
        '{"a":1,}',
        "[1,]",
        "{'a':1}",
        '{"a" 1}',
        '{"a":}',
        "{a:1}",
        "[01]",
        "[1.]",
        "[.5]",
        "[-]",
        "[+1]",
        "[1e]",
        "[nul]",
        "[nulll]",
        "[True]",
        '["\n"]',
        '["\\x"]',
        '["\\u12g4"]',
        '["',
        '["\\',
        '["\\u12',
        "[1 2]",
        "[]]",
        "[} ",
        "{} {}",
        "{}\0",
        " ",
        "[" * 1001 + "]" * 1001,
        b"\x1f\x8b\x08\0",
        b'{"a": "\xff"',
    ],
)
async def test_what_is_no_json_is_told_once_and_left(
    host: Host, directory: Path, body: str | bytes
) -> None:
    await start(host, directory, {"operations": [operation(ADD, "", value=1)]})
    shown = body if isinstance(body, str) else body.decode("utf-8", "surrogateescape")
    assert await patched(host, body) == shown
    assert await patched(host, body, response=False) == shown
    assert len(host.texts()) == 1
    assert "no JSON" in host.texts(LogLevel.INFO)[0]
    assert dict(host.status("json-patch").metrics) == {"not JSON": 2}


async def test_an_empty_body_and_one_that_streams_are_let_be(host: Host, directory: Path) -> None:
    await start(host, directory, {"operations": [operation(ADD, "", value=1)]})
    assert await patched(host, "") == ""
    assert host.texts() == []
    flow = respond_with(make_flow())
    assert await host.response(flow) is CONTINUE
    assert "streams" in host.texts(LogLevel.INFO)[0]


async def test_deep_and_long_bodies_are_edited_within_its_limits(
    host: Host, directory: Path
) -> None:
    operations = [operation(ADD, "/-", value=n) for n in range(10)]
    operations += [operation(MOVE, "/0", **{"from": "/1"}), operation(REMOVE, "/0")]
    await start(host, directory, {"operations": operations})
    added = ",".join(map(str, range(10)))
    deep = "[" * 999 + "]" * 999
    assert await patched(host, f"[{deep},1]") == f"[{deep},{added}]"
    before = 0
    longest = 2 * MIB - 10
    for body in (
        f'[{" " * (longest // 4)}"{"x" * (longest // 4)}","{BACKSLASHES * (longest // 8)}"]',
        f"[{','.join(['[1]'] * (longest // 4))}]",
        f"[{','.join(['{}'] * (longest // 3))}]",
        f"[{','.join([chr(34) * 2] * (longest // 3))}]",
    ):
        made = await patched(host, body)
        assert made.endswith(f",{added}]")
        (hook,) = (hook for hook in host.status("json-patch").profile if hook.hook == "on_response")
        spent, before = hook.fuel - before, hook.fuel
        assert spent < FUEL / 1.2


async def test_what_is_larger_than_it_reads_or_would_grow_too_large_is_left(
    host: Host, directory: Path
) -> None:
    double = operation(COPY, "/-", **{"from": ""})
    await start(host, directory, {"operations": [double] * 6})
    body = f'["{"x" * 100_000}"]'
    assert await patched(host, body) == body
    assert "more than twice as large" in host.texts(LogLevel.WARN)[0]
    huge = f'["{"x" * 2 * MIB}"]'
    assert await patched(host, huge) == huge
    assert "more than 2 MiB" in host.texts(LogLevel.INFO)[0]


async def test_a_patch_may_be_written_as_toml(host: Host, directory: Path) -> None:
    manifest = install(host, directory, "json-patch")
    manifest.write_text(manifest.read_text().replace("enabled = false", ""), encoding="utf-8")
    assert (await host.start()).refused == ()
    flow = respond_with(make_flow())
    flow.request = flow.request.replace(path=b"/int3-json-patch?x")
    flow.whole = WholeBody(b'{"debug": false, "n": 1.0}')
    assert await host.response(flow) is CONTINUE
    assert flow.whole.data == b'{"debug": true, "n": 1.0,"patched-by":"json-patch"}'


async def test_as_it_comes_it_waits_to_be_enabled(host: Host, directory: Path) -> None:
    install(host, directory, "json-patch")
    assert (await host.start()).refused == ()
    assert host.status("json-patch").state is PluginState.DISABLED


@pytest.mark.parametrize(
    "config", ["", "{}", ' {"patches": []}\n', '{"patches":[{"operations":[]}]}']
)
async def test_without_patches_everything_goes_on(host: Host, directory: Path, config: str) -> None:
    configure(host, directory, config)
    assert (await host.start()).refused == ()
    assert await patched(host, "{} ") == "{} "


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("patches", "config is no JSON object"),
        ("[]", "config is no JSON object"),
        ('{"patch":[]}', "config takes patches, and nothing else"),
        ('{"patches":{}}', "patches is no array"),
        ('{"patches":[1]}', "patch 1: it takes in, url and operations"),
        ('{"patches":[{"operations":[]},{}]}', "patch 2: it takes in, url and operations"),
        ('{"patches":[{"operations":[],"to":1}]}', "patch 1: it takes in, url and operations"),
        ('{"patches":[{"operations":{}}]}', "patch 1: operations is no array"),
        ('{"patches":[{"operations":[],"in":"both"}]}', "patch 1: in is neither"),
        ('{"patches":[{"operations":[],"url":1}]}', "patch 1: url is no text"),
        ('{"patches":[{"operations":[1]}]}', "patch 1, operation 1: it is no table"),
        ('{"patches":[{"operations":[{"path":""}]}]}', "patch 1, operation 1: op is none of"),
        (
            '{"patches":[{"operations":[{"op":"remove","path":"/a"},{"op":"remove"}]}]}',
            "patch 1, operation 2: path is no JSON Pointer",
        ),
        *(
            (json.dumps({"patches": [{"operations": [wrong]}]}), f"patch 1, operation 1: {why}")
            for wrong, why in (
                (operation("add", "a", value=1), "path is no JSON Pointer"),
                (operation("add", "/~2", value=1), "path is no JSON Pointer"),
                (operation("add", "/~", value=1), "path is no JSON Pointer"),
                (operation("add", "/" + "a" * 4096, value=1), "path is no JSON Pointer"),
                (operation("add", "/a"), "it needs one of value and json"),
                (operation("add", "/a", value=1, json="1"), "it needs one of value and json"),
                (operation("add", "/a", json="{"), "json is no JSON text"),
                (operation("add", "/a", json=1), "json is no JSON text"),
                (operation("add", "/a", json="[" * 33 + "]" * 33), "json is no JSON text"),
                (operation("move", "/a"), "from is no JSON Pointer"),
                (operation("copy", "/a", **{"from": "b"}), "from is no JSON Pointer"),
                (operation("move", "/a/b", **{"from": "/a"}), "what is moved would be inside"),
            )
        ),
    ],
)
async def test_a_configuration_it_does_not_know_is_declined(
    host: Host, directory: Path, config: str, why: str
) -> None:
    configure(host, directory, config)
    ((_, refusal),) = (await host.start()).refused
    assert refusal == "plugin_init returned 1; 0 means ready"
    assert host.texts(LogLevel.ERROR)[0].startswith(why)


def reference(document: Any, operations: list[dict[str, Any]]) -> Any:
    """RFC 6902 over parsed JSON. Raises LookupError or TypeError where it cannot be done."""
    document = json.loads(json.dumps(document))
    for step in operations:
        value = step.get("value")
        if step["op"] in (MOVE, COPY):
            value = json.loads(json.dumps(_at(document, step["from"])))
            if step["op"] == MOVE:
                _remove(document, step["from"])
        if step["op"] in (REMOVE, REPLACE):
            _at(document, step["path"])
        if step["op"] == REMOVE:
            _remove(document, step["path"])
        if step["op"] == TEST:
            if json.dumps(_at(document, step["path"]), sort_keys=True) != json.dumps(value):
                raise LookupError
        elif step["op"] != REMOVE:
            holder, key = _holder(document, step["path"])
            if isinstance(holder, dict):
                holder[key] = value
            elif step["op"] == REPLACE:
                holder[int(key)] = value
            elif key != "-" and int(key) > len(holder):
                raise LookupError
            else:
                holder.insert(len(holder) if key == "-" else int(key), value)
    return document


def _at(document: Any, path: str) -> Any:
    holder, key = _holder(document, path)
    return holder[key] if isinstance(holder, dict) else holder[_index(key)]


def _remove(document: Any, path: str) -> None:
    holder, key = _holder(document, path)
    holder.pop(key if isinstance(holder, dict) else _index(key))


def _holder(document: Any, path: str) -> tuple[Any, str]:
    *way, last = path.split("/")[1:]
    for key in way:
        document = document[key] if isinstance(document, dict) else document[_index(key)]
    if not isinstance(document, dict | list):
        raise TypeError
    if isinstance(document, list) and last != "-":
        _index(last)
    return document, last


def _index(key: str) -> int:
    if not key.isdigit():
        raise LookupError
    return int(key)


def _some(rng: random.Random, depth: int = 3) -> Any:
    kind = rng.randrange(6 if depth else 3)
    if kind < 3:
        return rng.choice([0, 1, True, None, "a", "\u00e9\n"])
    many = range(rng.randrange(4))
    if kind < 5:
        return {rng.choice("abc"): _some(rng, depth - 1) for _ in many}
    return [_some(rng, depth - 1) for _ in many]


async def test_it_does_what_a_patch_over_parsed_json_does(host: Host, directory: Path) -> None:
    rng = random.Random(6902)
    done = 0
    paths = [
        "".join(f"/{rng.choice(['a', 'b', 'c', '0', '1', '-'])}" for _ in range(n))
        for n in (1, 1, 1, 1, 2, 2, 2, 2, 3, 3)
    ]
    cases = []
    for _ in range(150):
        steps = []
        for _ in range(rng.randrange(1, 4)):
            op = rng.choice([ADD, ADD, REMOVE, REPLACE, MOVE, COPY, TEST])
            path, source = rng.choice(paths), rng.choice(paths)
            if op == MOVE and path.startswith(f"{source}/"):
                op = COPY
            steps.append({"op": op, "path": path, "from": source, "value": _some(rng, 1)})
        cases.append(steps)
    await start(
        host,
        directory,
        *({"url": f"*?{n}", "operations": steps} for n, steps in enumerate(cases)),
    )
    for number, steps in enumerate(cases):
        for _ in range(10):
            document = rng.choice([_some(rng, 4), {key: _some(rng) for key in "abc"}])
            body = json.dumps(
                document, indent=rng.choice([None, 1]), ensure_ascii=rng.random() < 0.5
            )
            try:
                wanted, good = reference(document, steps), True
            except (LookupError, TypeError):
                wanted, good = document, False
            flow = respond_with(make_flow())
            flow.request = flow.request.replace(path=b"/?%d" % number)
            flow.whole = WholeBody(body.encode())
            await host.response(flow)
            made = flow.whole.data.decode()
            assert json.dumps(json.loads(made)) == json.dumps(wanted), (body, steps)
            assert good or made == body
            done += good
    assert done > 100
    assert host.status("json-patch").traps == 0, host.texts()
