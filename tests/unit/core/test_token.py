"""The token's form, and what is refused."""

import pytest

from sharedlogkv_replica.core.records import Offset
from sharedlogkv_replica.core.token import LogIdentity, Token, parse_token
from sharedlogkv_replica.errors import InvalidToken


def test_a_token_is_parsed_back_from_its_text() -> None:
    token = Token(LogIdentity("Zz0-_aBcDeFgHiJkLmNoPq", 0), Offset(9_223_372_036_854_775_807))
    assert parse_token(str(token)) == token


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a:0",
        "a:0:",
        ":0:1",
        "a:0:-1",
        "a:0:1:2",
        "a:0:1 ",
        "a b:0:1",
        "a:0:1\n",
        "a:0:\u0661",
        "a:0:99999999999999999999",
    ],
)
def test_what_is_no_token_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(InvalidToken, match="is not of the form"):
        parse_token(text)


def test_a_refusal_quotes_no_more_than_the_beginning() -> None:
    with pytest.raises(InvalidToken) as caught:
        parse_token("x" * 10_000)
    assert len(str(caught.value)) < 250
