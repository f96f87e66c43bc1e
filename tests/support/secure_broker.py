"""A real broker that trusts nobody: three ways to prove who one is, ACLs, and a log of every right that was asked for.

The plain listener is for the set-up of tests alone: whoever comes there is the super user.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from secrets import token_hex

import trustme
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported, but not said so
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from processor.adapters.acls import Acl, Operation, Pattern, ResourceKind
from tests.support.broker import Listener, RunningBroker
from tests.support.java import SMALL_HEAP, free_port
from tests.support.tokens import AUDIENCE, TokenServer, token_server

HOST = "127.0.0.1"
ANSWER_S = 20
SCRAM_ITERATIONS = 4096
AUTHORIZER_LOGGER = "kafka.authorizer.logger"
_ASKED = re.compile(
    r"Principal = User:(?P<user>\S+) is (?P<verdict>Allowed|Denied) operation = (?P<operation>\w+) .*?"
    r"on resource = (?P<kind>\w+):LITERAL:(?P<name>\S+) for request = (?P<request>\w+)"
)
_KINDS = {
    ResourceKind.TOPIC: ("Topic", ResourceType.TOPIC),
    ResourceKind.GROUP: ("Group", ResourceType.GROUP),
    ResourceKind.TRANSACTIONAL_ID: ("TransactionalId", ResourceType.TRANSACTIONAL_ID),
}
_PATTERNS = {Pattern.LITERAL: ResourcePatternType.LITERAL, Pattern.PREFIXED: ResourcePatternType.PREFIXED}
_WORDS = {
    operation: re.sub("(?<=.)([A-Z])", r"_\1", operation).upper() for operation in Operation
}  # DescribeConfigs: DESCRIBE_CONFIGS


class Way(StrEnum):
    """How a client proves who it is."""

    SCRAM = "scram"
    OAUTH = "oauth"
    MTLS = "mtls"


@dataclass(frozen=True, slots=True)
class Asked:
    """A right that a principal asked the authorizer for."""

    kind: str
    name: str
    operation: str
    request: str
    is_allowed: bool


@dataclass(frozen=True, slots=True)
class Access:
    """What one principal is given: its name, variables for a process, and a directory of mounted secrets."""

    way: Way
    user: str
    directory: Path
    environ: Mapping[str, str]

    @property
    def principal(self) -> str:
        """As ACLs name it."""
        return f"User:{self.user}"


class SecureBroker:
    """Made by `secure_broker`."""

    def __init__(self, directory: Path, tokens: TokenServer) -> None:
        self.authority = trustme.CA()
        self.tokens = tokens
        self._directory = directory
        self._files = _files(directory, self.authority)
        self._listeners = {way: Listener(way.upper(), *rest) for way, rest in self._ways().items()}
        allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={tokens.keys_url}"
        logger = f"-Dorg.slf4j.simpleLogger.log.{AUTHORIZER_LOGGER}=debug"
        self.broker = RunningBroker(
            directory,
            (*SMALL_HEAP, allowed, logger),
            listeners=tuple(self._listeners.values()),
            more={
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "allow.everyone.if.no.acl.found": "false",
                "super.users": "User:ANONYMOUS",  # Of the plain listener.
            },
        )

    def start(self) -> None:
        """Start the broker; returns when it answers."""
        self.broker.start()
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})

    @property
    def bootstrap_servers(self) -> str:
        """The address for the set-up, of the super user."""
        return self.broker.bootstrap_servers

    def address(self, way: Way) -> str:
        """Return where clients begin who come this way."""
        return self._listeners[way].address

    # --- who comes in --------------------------------------------------------------------------------------------

    def admit(self, way: Way, user: str) -> Access:
        """Make a principal without any right, with its secrets in a directory of its own."""
        directory = self._directory / user
        directory.mkdir()
        environ = {
            "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": self.address(way),
            "PROCESSOR_SECRETS_DIRECTORY": str(directory),
        }
        access = Access(way, user, directory, environ)
        match way:
            case Way.SCRAM:
                self.set_password(access, token_hex())
            case Way.OAUTH:
                self.set_client_secret(access, token_hex())
            case Way.MTLS:
                self.set_certificate(access, self.authority)
        return access

    def set_password(self, access: Access, password: str, *, is_told: bool = True) -> None:
        """Give a principal another password at the broker; `is_told` mounts it too."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, SCRAM_ITERATIONS)
        change = UserScramCredentialUpsertion(access.user, info, password.encode())
        for done in self._admin.alter_user_scram_credentials([change]).values():
            done.result(ANSWER_S)
        if is_told:
            self.mount_password(access, password)

    def forget_password(self, access: Access) -> None:
        """Let no password of a principal be right any more."""
        change = UserScramCredentialDeletion(access.user, ScramMechanism.SCRAM_SHA_512)
        for done in self._admin.alter_user_scram_credentials([change]).values():
            done.result(ANSWER_S)

    def mount_password(self, access: Access, password: str) -> None:
        """Put a password, right or wrong, into the mounted files."""
        mount(access.directory, "PROCESSOR_KAFKA__SASL_USERNAME", access.user)
        mount(access.directory, "PROCESSOR_KAFKA__SASL_PASSWORD", password)
        self._mount_properties(access, {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512"})

    def set_client_secret(self, access: Access, secret: str) -> None:
        """Give a principal a client secret at the token endpoint and in its mounted files."""
        self.tokens.clients[access.user] = secret
        self.mount_client_secret(access, secret)

    def mount_client_secret(self, access: Access, secret: str) -> None:
        """Put a client secret, right or wrong, into the mounted files."""
        self._mount_properties(
            access,
            {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "OAUTHBEARER",
                "sasl.oauthbearer.method": "oidc",
                "sasl.oauthbearer.client.id": access.user,
                "sasl.oauthbearer.client.secret": secret,
                "sasl.oauthbearer.token.endpoint.url": self.tokens.token_url,
            },
        )

    def set_certificate(self, access: Access, authority: trustme.CA) -> None:
        """Mount a new certificate of a principal, issued by an authority that the broker may or may not trust."""
        issued = authority.issue_cert(f"{access.user}.example", common_name=access.user)
        chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
        mount(access.directory, "tls.crt", chain.decode())
        mount(access.directory, "tls.key", issued.private_key_pem.bytes().decode())
        self._mount_properties(
            access,
            {
                "security.protocol": "SSL",
                "ssl.certificate.location": str(access.directory / "tls.crt"),
                "ssl.key.location": str(access.directory / "tls.key"),
            },
        )

    def mount_authority(self, access: Access, authority: trustme.CA) -> None:
        """Let a principal trust servers of this authority, and of no other."""
        mount(access.directory, "ca.crt", authority.cert_pem.bytes().decode())

    def _mount_properties(self, access: Access, properties: Mapping[str, str]) -> None:
        authority = access.directory / "ca.crt"
        if not authority.exists():
            self.mount_authority(access, self.authority)
        every = {**properties, "ssl.ca.location": str(authority)}
        mount(access.directory, "PROCESSOR_KAFKA__PROPERTIES", json.dumps(every))

    # --- what they may -------------------------------------------------------------------------------------------

    def grant(self, access: Access, acls: Iterable[Acl]) -> None:
        """Allow a principal this, from every host."""
        for done in self._admin.create_acls([*_bindings(access, acls)]).values():
            done.result(ANSWER_S)

    def withdraw(self, access: Access, acls: Iterable[Acl]) -> None:
        """Allow it no more."""
        filters = [
            AclBindingFilter(
                one.restype, one.name, one.resource_pattern_type, one.principal, one.host, one.operation,
                one.permission_type,
            )
            for one in _bindings(access, acls)
        ]  # fmt: skip
        for done in self._admin.delete_acls(filters).values():
            assert done.result(ANSWER_S), "there was nothing to withdraw"

    def asked(self, access: Access) -> set[Asked]:
        """Return every right that a principal asked for since the broker began."""
        lines = self.broker.log_file.read_text(errors="replace").splitlines()
        found = (_ASKED.search(line) for line in lines if f"Principal = {access.principal} " in line)
        return {
            Asked(one["kind"], one["name"], one["operation"], one["request"], one["verdict"] == "Allowed")
            for one in found
            if one is not None
        }

    def _ways(self) -> dict[Way, tuple[str, int, dict[str, str]]]:
        store, trust = self._files
        server = {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(trust),
        }
        scram, oauth, login = "scram-sha-512", "oauthbearer", "org.apache.kafka.common.security"
        return {
            Way.SCRAM: (
                "SASL_SSL",
                free_port(),
                server
                | {
                    "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                    f"{scram}.sasl.jaas.config": f"{login}.scram.ScramLoginModule required;",
                },
            ),
            Way.OAUTH: (
                "SASL_SSL",
                free_port(),
                server
                | {
                    "sasl.enabled.mechanisms": "OAUTHBEARER",
                    f"{oauth}.sasl.jaas.config": f"{login}.oauthbearer.OAuthBearerLoginModule required;",
                    f"{oauth}.sasl.server.callback.handler.class": (
                        f"{login}.oauthbearer.OAuthBearerValidatorCallbackHandler"
                    ),
                    f"{oauth}.sasl.oauthbearer.jwks.endpoint.url": self.tokens.keys_url,
                    f"{oauth}.sasl.oauthbearer.expected.audience": AUDIENCE,
                    f"{oauth}.sasl.oauthbearer.expected.issuer": self.tokens.url,
                },
            ),
            Way.MTLS: (
                "SSL",
                free_port(),
                server
                | {
                    "ssl.client.auth": "required",
                    "ssl.principal.mapping.rules": r"RULE:^CN=([^,]+).*$/$1/",
                },
            ),
        }


def was_asked(acl: Acl, operation: Operation, asked: Iterable[Asked]) -> bool:
    """Whether an operation on a resource was asked for and allowed."""
    resource = acl.resource
    return any(
        one.is_allowed
        and (one.kind, one.operation) == (_KINDS[resource.kind][0], _WORDS[operation])
        and (one.name == resource.name or (resource.pattern is Pattern.PREFIXED and one.name.startswith(resource.name)))
        for one in asked
    )


def mount(directory: Path, name: str, text: str) -> None:
    """Put a file in place at once, readable for nobody else."""
    new = directory / f".{name}.new"
    new.touch(0o600)
    new.write_text(text, encoding="utf-8")
    new.rename(directory / name)


def _bindings(access: Access, acls: Iterable[Acl]) -> Iterator[AclBinding]:
    for acl in acls:
        for operation in acl.operations:
            yield AclBinding(
                _KINDS[acl.resource.kind][1],
                acl.resource.name,
                _PATTERNS[acl.resource.pattern],
                access.principal,
                "*",
                AclOperation[_WORDS[operation]],
                AclPermissionType.ALLOW,
            )


def _files(directory: Path, authority: trustme.CA) -> tuple[Path, Path]:
    """Write the broker's key with its certificate, and whom it trusts; Kafka reads PKCS #8 only."""
    issued = authority.issue_cert(HOST)
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    mount(directory, "broker.pem", (text + b"".join(part.bytes() for part in issued.cert_chain_pems)).decode())
    mount(directory, "trusted.pem", authority.cert_pem.bytes().decode())
    return directory / "broker.pem", directory / "trusted.pem"


@contextmanager
def secure_broker(directory: Path) -> Iterator[SecureBroker]:
    """Run such a broker and its token endpoint while the block runs; raises ServerMissing, ServerFailed."""
    with ExitStack() as stack:
        tokens = stack.enter_context(token_server())
        made = SecureBroker(directory, tokens)
        made.start()
        stack.callback(made.broker.stop)
        yield made
