"""Keys, secrets and tokens: who may call. Tokens live in memory, so a restart makes all of them invalid."""

import orjson

from processor.simulator import draws
from processor.simulator.model import Answer, Call, Refused
from processor.simulator.reading import object_in, text_in
from processor.simulator.scene import Scene

TOKENS_MAX = 10_000


class Credentials:
    """Issues tokens and knows which are valid."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._settings = scene.settings
        self._pair = (scene.settings.key, scene.settings.secret)
        self._organisation_tokens = frozenset(scene.settings.organisation_tokens)
        self._expiries: dict[str, int] = {}  # Token -> when it expires.
        self._former_expiries: dict[str, int] = {}  # The same for tokens of the key and secret before.
        self._refresh_expiries: dict[str, int] = {}

    def authorize(self, call: Call) -> Answer:
        """Exchange key and secret for tokens; 400 when one is missing, 401 when one is wrong."""
        given = object_in(call.body)
        if (text_in(given, "key"), text_in(given, "secret")) != self._pair:
            raise Refused(401, "BAD_CREDENTIALS", "key and secret do not match")
        refresh_token = self._issue(self._refresh_expiries, call.at, self._settings.refresh_s)
        return self._tokens(refresh_token, call.at)

    def refresh(self, call: Call) -> Answer:
        """Exchange a refresh token for a new access token; it stays valid itself."""
        refresh_token = text_in(object_in(call.body), "refreshToken")
        if self._refresh_expiries.get(refresh_token, 0) <= call.at:
            raise Refused(401, "BAD_REFRESH_TOKEN", "the refresh token is unknown or has expired")
        return self._tokens(refresh_token, call.at)

    def is_valid(self, authorization: str, at: int) -> bool:
        """Say whether an Authorization header carries a token that is valid now."""
        scheme, _, token = authorization.partition(" ")
        if scheme == "Bearer":
            return max(self._expiries.get(token, 0), self._former_expiries.get(token, 0)) > at
        return authorization in self._organisation_tokens

    def rotate(self, key: str, secret: str) -> None:
        """Know no other key and secret from now on; access tokens of those before are valid until `revoke_former`."""
        self._pair = (key, secret)
        self._former_expiries |= self._expiries
        self._expiries.clear()
        self._refresh_expiries.clear()

    def revoke(self) -> None:
        """Make every access token invalid."""
        self._expiries.clear()
        self.revoke_former()

    def revoke_former(self) -> None:
        """Make the access tokens of every former key and secret invalid."""
        self._former_expiries.clear()

    def _tokens(self, refresh_token: str, at: int) -> Answer:
        body = {
            "accessToken": self._issue(self._expiries, at, self._settings.token_s),
            "refreshToken": refresh_token,
            "expiryDuration": int(self._settings.token_s),
            "tokenType": "Bearer",
        }
        return Answer(200, orjson.dumps(body))

    def _issue(self, expiries: dict[str, int], at: int, life_s: float) -> str:
        expires_at = at + int(life_s * 1000)
        claims = {"workspaceId": "simulator", "iat": at // 1000, "exp": expires_at // 1000}
        token = draws.new_token(self._scene.source, claims)
        expiries[token] = expires_at
        if len(expiries) > TOKENS_MAX:
            del expiries[next(iter(expiries))]
        return token
