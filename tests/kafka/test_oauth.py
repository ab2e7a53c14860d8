"""Tokens for OAUTHBEARER: asked for once, renewed in time, and a provider that fails told in a line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from provider import CLIENT, SECRET, Provider, provider

from stream.kafka import oauth
from stream.kafka.oauth import OAuth, TokenError, Tokens
from stream.kafka.security import Security


@pytest.fixture
def idp() -> Iterator[Provider]:
    with provider() as running:
        yield running


def tokens(idp: Provider, secret: str = SECRET, **more: object) -> Tokens:
    return Tokens(OAuth(idp.url, CLIENT, secret, **more))  # type: ignore[arg-type]


def test_one_token_serves_all_clients_and_threads(idp: Provider) -> None:
    shared = tokens(idp, scope="kafka read")
    found: list[str] = []

    async def ask() -> None:
        found.extend(await asyncio.gather(*(shared.token() for _ in range(20))))

    threads = [threading.Thread(target=lambda: asyncio.run(ask())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 80
    assert len(set(found)) == 1
    assert idp.asked == [{"grant_type": ["client_credentials"], "scope": ["kafka read"]}]


def test_all_clients_of_one_security_share_them(idp: Provider) -> None:
    def options() -> dict[str, object]:
        return Security("SASL_PLAINTEXT", "OAUTHBEARER", oauth=OAuth(idp.url, CLIENT, SECRET)).options()

    assert options() == options()
    assert options().keys() == {"security_protocol", "sasl_mechanism", "sasl_oauth_token_provider"}


def test_a_token_is_renewed_when_most_of_its_time_is_over(idp: Provider) -> None:
    async def story() -> None:
        now_s = 5.0
        mine = Tokens(OAuth(idp.url, CLIENT, SECRET), clock=lambda: now_s)
        first = await mine.token()
        now_s += 0.79 * idp.seconds
        assert await mine.token() == first
        now_s += 0.02 * idp.seconds
        assert await mine.token() != first
        assert len(idp.asked) == 2

    asyncio.run(story())


def test_while_the_provider_fails_the_old_token_is_used_as_long_as_it_is_good(
    idp: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        now_s = 5.0
        mine = Tokens(OAuth(idp.url, CLIENT, SECRET), clock=lambda: now_s)
        first = await mine.token()
        idp.answer = lambda: (503, b"later")
        now_s += 0.9 * idp.seconds
        assert await mine.token() == first
        now_s += 0.1 * idp.seconds
        with pytest.raises(TokenError, match="503"):
            await mine.token()
        idp.answer = None
        assert await mine.token() != first

    with caplog.at_level(logging.WARNING):
        asyncio.run(story())
    assert "could not be renewed, the old one is used" in caplog.text


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b'{"error":\n "invalid_client"}', '401 Unauthorized: {"error": "invalid_client"}'),
        (500, b"\x1b[31m" + b"x" * 5_000, "500"),
        (200, b"no json", "no access_token"),
        (200, b"{}", "no access_token"),
        (200, b'{"access_token": ""}', "is none"),
        (200, b'{"access_token": "a\\nb"}', "is none"),
        (200, b'{"access_token": 5}', "no access_token"),
        (200, b'{"access_token": "a", "expires_in": 0}', "over when it comes"),
        (200, b'{"access_token": "a", "expires_in": "soon"}', "no access_token"),
        (200, b'{"access_token": "a", "expires_in": "nan"}', "over when it comes"),
    ],
)
def test_a_provider_that_gives_no_token_is_told_in_one_line(
    idp: Provider, status: int, body: bytes, said: str
) -> None:
    idp.answer = lambda: (status, body)
    with pytest.raises(TokenError) as caught:
        asyncio.run(tokens(idp).token())
    text = str(caught.value)
    assert said in text
    assert f"no token from {idp.url}" in text
    assert text.isprintable()
    assert len(text) < 400


def test_a_provider_that_is_not_there_or_silent_is_told(
    monkeypatch: pytest.MonkeyPatch, idp: Provider
) -> None:
    with provider() as gone:
        pass
    with pytest.raises(TokenError, match="refused"):
        asyncio.run(tokens(gone).token())
    monkeypatch.setattr(oauth, "TIMEOUT_S", 0.2)
    idp.answer = lambda: (time.sleep(1), (200, b""))[1]
    with pytest.raises(TokenError, match="timed out"):
        asyncio.run(tokens(idp).token())


@pytest.mark.parametrize(
    "answer",
    [
        b"\x15\x03\x01\x00\x02\x02",  # an alert of TLS
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"",
    ],
)
def test_an_answer_that_is_no_http_or_cut_short_is_told(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/token"
        with pytest.raises(TokenError, match="no token from") as caught:
            asyncio.run(Tokens(OAuth(url, CLIENT, SECRET)).token())
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("told", ['"30"', "30", "30.0"])
def test_a_lifetime_in_digits_or_text_is_read(idp: Provider, told: str) -> None:
    idp.answer = lambda: (200, b'{"access_token": "a", "expires_in": %s}' % told.encode())
    mine = Tokens(OAuth(idp.url, CLIENT, SECRET), clock=lambda: 100.0)
    assert asyncio.run(mine.token()) == "a"
    assert mine._token is not None
    assert (mine._token.renew_s, mine._token.ends_s) == (124.0, 130.0)


def test_secrets_are_not_shown(idp: Provider) -> None:
    assert SECRET not in repr(Security("SASL_SSL", "OAUTHBEARER", oauth=OAuth(idp.url, CLIENT, SECRET)))


def test_extensions_go_with_the_token(idp: Provider) -> None:
    assert tokens(idp, extensions=(("logicalCluster", "lkc-1"),)).extensions() == {"logicalCluster": "lkc-1"}
