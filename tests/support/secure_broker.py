"""A real broker that trusts nobody: three ways to prove who one is, ACLs, and a log of every right that was asked for.

The plain listener is for the set-up of tests alone: whoever comes there is the super user.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from secrets import token_hex

import trustme
from confluent_kafka import KafkaException
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
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from processor.adapters.acls import Acl, Operation, Pattern, ResourceKind
from processor.kafka_config import client_config
from processor.settings_loading import load_settings
from tests.support.broker import Listener, RunningBroker
from tests.support.java import SMALL_HEAP
from tests.support.mounted import MountedFiles
from tests.support.ports import free_port
from tests.support.tokens import AUDIENCE, TokenServer, token_server

HOST = "127.0.0.1"
ANSWER_S = 20
REFUSAL_S = 3  # Nobody is let in later.
SCRAM_ITERATIONS = 4096
QUIET = logging.getLogger("clients that are refused")
QUIET.setLevel(logging.CRITICAL)
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
    files: MountedFiles
    environ: Mapping[str, str]

    @property
    def principal(self) -> str:
        """As ACLs name it."""
        return f"User:{self.user}"


class SecureBroker:
    """Made by `secure_broker`."""

    def __init__(self, directory: Path, tokens: TokenServer) -> None:
        self.authority = trustme.CA()
        self.client_authority, self.next_client_authority = trustme.CA(), trustme.CA()
        self.tokens = tokens
        self._directory = directory
        self._store, self._trusted = directory / "broker.pem", directory / "trusted.pem"
        self._store.write_text(_key_and_certificate(self.authority))
        self._trust_clients()
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
        files = MountedFiles(self._directory / user, {"ca.crt": _pem(self.authority)})
        environ = {
            "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": self.address(way),
            "PROCESSOR_SECRETS_DIRECTORY": str(files.directory),
        }
        access = Access(way, user, files, environ)
        if way is Way.MTLS:
            self.mount_certificate(access, self.client_authority)
        else:
            self.renew(access)
        return access

    def renew(self, access: Access) -> None:
        """Give a principal new credentials, at the broker and mounted; certificates of the next authority."""
        match access.way:
            case Way.SCRAM:
                self.set_password(access, token_hex())
            case Way.OAUTH:
                self.set_client_secret(access, token_hex())
            case Way.MTLS:
                self.mount_certificate(access, self.next_client_authority)

    def set_password(self, access: Access, password: str) -> None:
        """Give a principal another password at the broker, and mount it."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, SCRAM_ITERATIONS)
        change = UserScramCredentialUpsertion(access.user, info, password.encode())
        for done in self._admin.alter_user_scram_credentials([change]).values():
            done.result(ANSWER_S)
        self.mount_password(access, password)

    def mount_password(self, access: Access, password: str) -> None:
        """Put a password, right or wrong, into the mounted files."""
        given = {"PROCESSOR_KAFKA__SASL_USERNAME": access.user, "PROCESSOR_KAFKA__SASL_PASSWORD": password}
        properties = {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512"}
        access.files.change(given | _properties(access, properties))

    def set_client_secret(self, access: Access, secret: str) -> None:
        """Give a principal a client secret at the token endpoint, and mount it."""
        self.tokens.clients[access.user] = secret
        self.mount_client_secret(access, secret)

    def mount_client_secret(self, access: Access, secret: str) -> None:
        """Put a client secret, right or wrong, into the mounted files."""
        properties = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": access.user,
            "sasl.oauthbearer.client.secret": secret,
            "sasl.oauthbearer.token.endpoint.url": self.tokens.token_url,
        }
        access.files.change(_properties(access, properties))

    def mount_certificate(self, access: Access, authority: trustme.CA, *, not_after: datetime | None = None) -> None:
        """Mount a new certificate of a principal, of an authority that the broker may or may not trust."""
        properties = {
            "security.protocol": "SSL",
            "ssl.certificate.location": str(access.files.path("tls.crt")),
            "ssl.key.location": str(access.files.path("tls.key")),
        }
        given = certificate_and_key(access, authority, not_after=not_after)
        access.files.change(given | _properties(access, properties))

    def mount_authority(self, access: Access, authority: trustme.CA) -> None:
        """Let a principal trust servers of this authority, and of no other."""
        access.files.change({"ca.crt": _pem(authority)})

    def distrust_older_clients(self) -> None:
        """Let certificates of the authority of now count no more, those of the next one only; restarts the broker."""
        self.client_authority, self.next_client_authority = self.next_client_authority, trustme.CA()
        self._trust_clients()
        self.restart()

    def restart(self) -> None:
        """Break every connection: whoever comes back must prove anew who it is."""
        self.broker.stop()
        self.broker.start()

    def lets_in(self, environ: Mapping[str, str]) -> bool:
        """Whether a client with these variables is let in."""
        settings = load_settings(environ, needs=frozenset())
        admin = AdminClient(client_config(settings, "asks") | {"logger": QUIET})
        try:
            return bool(admin.list_topics(timeout=REFUSAL_S).brokers)
        except KafkaException:
            return False

    def _trust_clients(self) -> None:
        self._trusted.write_text(_pem(self.client_authority) + _pem(self.next_client_authority))

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
        server = {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self._trusted),
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


def certificate_and_key(access: Access, authority: trustme.CA, *, not_after: datetime | None = None) -> dict[str, str]:
    """Return files with a new certificate of a principal, and its key."""
    issued = authority.issue_cert(f"{access.user}.example", common_name=access.user, not_after=not_after)
    chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
    return {"tls.crt": chain.decode(), "tls.key": issued.private_key_pem.bytes().decode()}


def was_asked(acl: Acl, operation: Operation, asked: Iterable[Asked]) -> bool:
    """Whether an operation on a resource was asked for and allowed."""
    resource = acl.resource
    return any(
        one.is_allowed
        and (one.kind, one.operation) == (_KINDS[resource.kind][0], _WORDS[operation])
        and (one.name == resource.name or (resource.pattern is Pattern.PREFIXED and one.name.startswith(resource.name)))
        for one in asked
    )


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


def _properties(access: Access, properties: Mapping[str, str]) -> dict[str, str]:
    every = {**properties, "ssl.ca.location": str(access.files.path("ca.crt"))}
    return {"PROCESSOR_KAFKA__PROPERTIES": json.dumps(every)}


def _pem(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


def _key_and_certificate(authority: trustme.CA) -> str:
    """Return what the broker shows; Kafka reads keys in the form of PKCS #8 only."""
    issued = authority.issue_cert(HOST)
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (text + b"".join(part.bytes() for part in issued.cert_chain_pems)).decode()


@contextmanager
def secure_broker(directory: Path) -> Iterator[SecureBroker]:
    """Run such a broker and its token endpoint while the block runs; raises ServerMissing, ServerFailed."""
    with ExitStack() as stack:
        tokens = stack.enter_context(token_server())
        made = SecureBroker(directory, tokens)
        made.start()
        stack.callback(made.broker.stop)
        yield made
