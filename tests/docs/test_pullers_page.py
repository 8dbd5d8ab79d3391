"""docs/pullers.md and docs/agent.md name what there is: presets, keys, notices."""

import re
from pathlib import Path

import msgspec

from graven.agent.config import (
    AgentConfig,
    BatchConfig,
    CloudTrailConfig,
    CommandConfig,
    FilesConfig,
    JournaldConfig,
    PullConfig,
    SpoolConfig,
    parse_agent_config,
)
from graven.agent.doors.config import HttpConfig, SyslogConfig
from graven.agent.notices import NOTICES
from graven.agent.pull.preset import load_preset, parse_preset, preset_names
from graven.core.signed import STATEMENT_ACTION
from graven.ingest import Pipeline

DOCS = Path(__file__).parents[2] / "docs"
CLOUDTRAIL = (DOCS / "cloudtrail.md").read_text()
PULLERS, AGENT = (DOCS / "pullers.md").read_text(), (DOCS / "agent.md").read_text()


def test_every_preset_is_on_the_page_with_its_values() -> None:
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)` \| ([^|]*)\|", PULLERS.partition("## What is promised")[0], re.M))
    assert sorted(rows) == preset_names()
    for name, asked in rows.items():
        preset = load_preset(name)
        words = re.findall(r"`(domain|scope|tenant|client_id|content|application|admin|user)`", asked)
        preset.check(dict.fromkeys(words, "x"), name)


def test_the_preset_on_the_page_is_one() -> None:
    block = re.findall(r"```toml\n(.*?)```", PULLERS, re.S)[1]
    preset = parse_preset(block.encode(), place="the page")
    preset.check({"domain": "x"}, "the page")


def test_every_key_is_on_a_page() -> None:
    collecting = (FilesConfig, JournaldConfig, CommandConfig, SyslogConfig, HttpConfig)
    kinds = (AgentConfig, SpoolConfig, BatchConfig, *collecting)
    pages: dict[type[msgspec.Struct], str] = {
        **dict.fromkeys(kinds, AGENT),
        PullConfig: PULLERS,
        CloudTrailConfig: CLOUDTRAIL,
    }
    for kind, page in pages.items():
        for field in msgspec.structs.fields(kind):
            assert f"`{field.name}`" in page or f"[{field.name}]" in page, f"{kind.__name__}.{field.name}"


def test_every_notice_is_on_the_page() -> None:
    named = set(re.findall(r"^\| `(graven\.agent\.[a-z_]+)`", AGENT, re.M))
    assert named == {*NOTICES, STATEMENT_ACTION}


def test_the_types_on_the_pages_are_known() -> None:
    config = parse_agent_config(re.findall(r"```toml\n(.*?)```", AGENT, re.S)[0])
    assert {one.type for one in config.files} - {""} <= set(Pipeline().types)


def test_the_configurations_on_the_pages_are_read() -> None:
    first = re.findall(r"```toml\n(.*?)```", AGENT, re.S)[0]
    pull = re.findall(r"```toml\n(.*?)```", PULLERS, re.S)[0]
    trail = re.findall(r"```toml\n(.*?)```", CLOUDTRAIL, re.S)[0]
    doors = re.findall(r"```toml\n(.*?)```", AGENT, re.S)[1]
    config = parse_agent_config(first + pull + trail + doors)
    assert (config.syslog[0].socket, config.http[0].listen) == ("/run/graven-agent/log", "127.0.0.1:4790")
    assert config.cloudtrail[0].bucket == "s3://audit-bucket"
    assert [one.name for one in config.files] == ["auth", "audit"]
    assert config.pull[0].preset == "okta"
