"""What the interesting cases look like from outside; `tests/support/election_transcripts.py` says how to read them."""

import pathlib

import pytest

from tests.support.election_transcripts import FOLDER, perform


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_the_election_still_does_what_its_transcript_says(path: pathlib.Path) -> None:
    transcript = path.read_text(encoding="utf-8")
    assert perform(transcript) == transcript


def test_there_are_transcripts() -> None:
    assert len(list(FOLDER.glob("*.txt"))) > 5
