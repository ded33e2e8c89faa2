"""Which models are used when the call names none: arguments, environment, config file, the embedded pair."""

import logging

import pytest

from iterreason.config import Chosen, choose_models, config_path
from iterreason.errors import BadConfig


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The user's config file, in a home of its own; nothing is named anywhere yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("ITERREASON_REASONER", raising=False)
    monkeypatch.delenv("ITERREASON_ANSWERER", raising=False)
    path = tmp_path / "iterreason" / "config.toml"
    path.parent.mkdir()
    return path


def test_the_config_file_is_where_the_platform_keeps_them(config):
    """On Linux that is $XDG_CONFIG_HOME/iterreason/config.toml."""
    assert config_path() == config


@pytest.mark.parametrize(
    ("arguments", "environment", "file", "chosen"),
    [
        (("r1", "a1"), ("r2", "a2"), 'reasoner = "r3"\nanswerer = "a3"', ("r1", "a1")),
        ((None, None), ("r2", "a2"), 'reasoner = "r3"\nanswerer = "a3"', ("r2", "a2")),
        ((None, None), ("", ""), 'reasoner = "r3"\nanswerer = "a3"', ("r3", "a3")),
        ((None, None), ("", ""), "", ("embedded", "embedded")),
        # each role by itself
        (("r1", None), ("", "a2"), 'answerer = "a3"', ("r1", "a2")),
        ((None, "a1"), ("", ""), 'reasoner = "r3"', ("r3", "a1")),
        (("r1", None), ("", ""), "", ("r1", "embedded")),
        ((None, None), ("", "a2"), "", ("embedded", "a2")),
        # an empty name names nothing
        (("", None), ("r2", ""), 'answerer = ""', ("r2", "embedded")),
    ],
)
def test_arguments_come_before_the_environment_before_the_file(
    config, monkeypatch, caplog, arguments, environment, file, chosen
):
    """Each role takes the first name that is given; the last resort is embedded, and then a line says so."""
    for name, value in zip(("REASONER", "ANSWERER"), environment, strict=True):
        monkeypatch.setenv(f"ITERREASON_{name}", value)
    config.write_text(file, encoding="utf-8")
    with caplog.at_level(logging.WARNING, "iterreason"):
        assert choose_models(*arguments) == Chosen(*chosen)
    assert len(caplog.records) == int("embedded" in chosen)


def test_without_any_name_one_visible_line_says_so(config, caplog):
    """Who named no model learns that drawn scenes are all that the embedded pair knows, and how to name a real one."""
    assert choose_models(None, None) == Chosen("embedded", "embedded")
    (record,) = caplog.records
    line = record.getMessage()
    assert len(line.splitlines()) == 1
    assert record.levelno == logging.WARNING
    for word in ("drawn scenes", "not photographs", "--reasoner", "ITERREASON_ANSWERER", str(config)):
        assert word in line


def test_naming_the_embedded_pair_is_naming_it(config, caplog):
    """Who asks for the embedded pair by name knows, and is not told."""
    choose_models("embedded", "embedded")
    config.write_text('reasoner = "embedded"\nanswerer = "embedded"', encoding="utf-8")
    choose_models(None, None)
    assert not caplog.records


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('resoner = "x"', "unknown key 'resoner'; did you mean 'reasoner'? Known: answerer, reasoner."),
        ("[models]\nreasoner = 'x'", "unknown key 'models'"),
        ("reasoner = 3", "'reasoner' must be a model URI in quotes, not 3"),
        ("answerer = ['x']", "'answerer' must be a model URI in quotes, not ['x']"),
        ("reasoner = true", "'reasoner' must be a model URI in quotes"),
        ("reasoner = x", "cannot use the config file"),
        ("reasoner", "cannot use the config file"),
        ("\x00", "cannot use the config file"),
    ],
)
def test_a_config_file_that_cannot_be_used_is_one_error(config, text, why):
    """Unknown keys, wrong types and what is not TOML are refused with the file's path."""
    config.write_text(text, encoding="utf-8")
    with pytest.raises(BadConfig) as caught:
        choose_models(None, None)
    assert why in str(caught.value)
    assert str(config) in str(caught.value)


def test_a_config_file_that_cannot_be_read_is_one_error(config):
    """A folder in its place, or bytes that are not UTF-8, are refused like a bad file."""
    config.write_bytes(b'reasoner = "\xe9"')
    with pytest.raises(BadConfig, match="cannot use the config file"):
        choose_models(None, None)
    config.unlink()
    config.mkdir()
    with pytest.raises(BadConfig, match="cannot use the config file"):
        choose_models(None, None)


def test_a_config_file_may_be_absent_or_empty(config):
    """No file and an empty file name nothing."""
    assert choose_models("r", "a") == Chosen("r", "a")
    config.write_text("# nothing yet\n", encoding="utf-8")
    assert choose_models("r", "a") == Chosen("r", "a")
