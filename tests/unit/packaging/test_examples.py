"""The examples can be applied together, as `kubectl apply -f examples/` does."""

from pathlib import Path

import yaml

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_no_two_examples_make_an_object_of_the_same_kind_and_name() -> None:
    made = [
        (manifest["kind"], manifest["metadata"]["name"])
        for path in sorted(EXAMPLES.glob("*.yaml"))
        for manifest in yaml.safe_load_all(path.read_text())
    ]
    assert made
    assert sorted(set(made)) == sorted(made)
