"""What the simulator can be told, and what it refuses to be told."""

import pytest

from processor.simulator.settings import Faults, SimulatorSettings, Span, changed, options, settings_from, shown


@pytest.mark.parametrize(
    "given, meant",
    [
        (50, Span(50, 50)),
        ("50", Span(50, 50)),
        ("20..80", Span(20, 80)),
        ([20, 80], Span(20, 80)),
        (Span(1, 2), Span(1, 2)),
    ],
)
def test_a_range_is_a_number_two_numbers_or_a_text(given: object, meant: Span) -> None:
    """Commands give text, JSON gives numbers and lists; all mean the same."""
    assert Span.of(given) == meant


@pytest.mark.parametrize(
    "given, named",
    [
        ({"failed_rate": 1.5}, "failed_rate"),
        ({"failed_rate": float("nan")}, "failed_rate"),
        ({"failed_rate": True}, "failed_rate"),
        ({"failed_rate": "often"}, "failed_rate"),
        ({"failed_status": 7}, "failed_status"),
        ({"latency_ms": "80..20"}, "latency_ms"),
        ({"latency_ms": None}, "latency_ms"),
        ({"retry_after_s": 1.5}, "retry_after_s"),
        ({"retry_after_s": -1}, "retry_after_s"),
        ({"outage": "maybe"}, "outage"),
        ({"run_silent_rate": 0.6, "run_ghost_rate": 0.6}, "run_ghost_rate"),
        ({"runs_max": 0}, "runs_max"),
        ({"webhook_retries": -1}, "webhook_retries"),
        ({"webhook_urls": "ftp://somewhere"}, "webhook_urls"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(given: dict[str, object], named: str) -> None:
    """Whoever mistypes a setting reads which one, and not a stack of types."""
    with pytest.raises(ValueError, match=named):
        settings_from(given)


def test_flat_options_become_settings_and_faults() -> None:
    """A command knows one flat list of options, all of them as text if need be."""
    settings = settings_from(
        {"seed": "7", "definitions": "a, b", "webhook_urls": "8080,http://h/x", "latency_ms": "5..9", "outage": "true"}
    )
    assert settings == SimulatorSettings(
        seed=7,
        definitions=("a", "b"),
        webhook_urls=("http://127.0.0.1:8080/webhooks", "http://h/x"),
        faults=Faults(latency_ms=Span(5, 9), outage=True),
    )


def test_every_option_has_a_line_of_documentation_and_accepts_its_own_default() -> None:
    """The list of options is complete: given back unchanged it makes the default settings."""
    listed = options()
    assert all(option.doc for option in listed)
    assert settings_from({option.name: option.default for option in listed}) == SimulatorSettings()


def test_faults_are_shown_as_they_can_be_given() -> None:
    """What was read can be written back."""
    faults = Faults(latency_ms=Span(5, 9), failed_rate=0.5, forbidden=True)
    assert changed(Faults(), shown(faults)) == faults


def test_secrets_stay_out_of_the_text_form() -> None:
    """Settings end in logs sooner or later."""
    text = repr(SimulatorSettings(secret="very-secret", signing_key="-----BEGIN"))
    assert "very-secret" not in text
    assert "BEGIN" not in text
