#!/usr/bin/env python3
"""One server of the development stack, in the foreground, with all its files under DEVSTACK_DATA.

    devstack rabbitmq   RABBITMQ_USER, RABBITMQ_PASSWORD; ADVERTISED_HOST (127.0.0.1): how clients reach it
    devstack s3         S3_ACCESS_KEY, S3_SECRET_KEY; S3_PORT (8333)

The process becomes the server, so that signals and exit codes are the server's own. Anything else than these
two words is run as it stands. A changed password counts from the next start.
"""

import base64
import hashlib
import json
import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import NoReturn

IMAGE_FILES = Path("/etc/azaion-devstack")
USAGE_EXIT = 64


def main(arguments: list[str]) -> NoReturn:
    os.umask(0o077)
    data = Path(os.environ.get("DEVSTACK_DATA", "/data"))
    match arguments:
        case ["rabbitmq"]:
            become_rabbitmq(data / "rabbitmq")
        case ["s3"]:
            become_s3(data / "s3")
        case []:
            fail("say which server: rabbitmq or s3")
        case _:
            os.execvp(arguments[0], arguments)  # noqa: S606 - its purpose


def become_rabbitmq(home: Path) -> NoReturn:
    definitions = rabbitmq_definitions(take_secret("RABBITMQ_USER"), take_secret("RABBITMQ_PASSWORD"))
    for folder in ("home", "mnesia", "log", "generated", "schema", "conf.d"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(IMAGE_FILES / "enabled_plugins", home / "enabled_plugins")
    # The server reads this folder in the order of its names.
    shutil.copyfile(IMAGE_FILES / "rabbitmq.conf", home / "conf.d/10-image.conf")
    write_json(home / "definitions.json", definitions)
    (home / "conf.d/20-start.conf").write_text(
        f"load_definitions = {home}/definitions.json\n"
        f"stream.advertised_host = {os.environ.get('ADVERTISED_HOST', '127.0.0.1')}\n"
        f"stream.advertised_port = {os.environ.get('ADVERTISED_PORT', '5552')}\n",
        encoding="utf-8",
    )
    environment = os.environ | {
        "HOME": f"{home}/home",
        # A fixed name, so that a new pod finds the data of the one before it.
        "RABBITMQ_NODENAME": "devstack@localhost",
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILES": f"{home}/conf.d",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/enabled_plugins",
        "RABBITMQ_MNESIA_BASE": f"{home}/mnesia",
        "RABBITMQ_LOG_BASE": f"{home}/log",
        "RABBITMQ_PID_FILE": f"{home}/pid",
        "RABBITMQ_GENERATED_CONFIG_DIR": f"{home}/generated",
        "RABBITMQ_SCHEMA_DIR": f"{home}/schema",
        "RABBITMQ_FEATURE_FLAGS_FILE": f"{home}/feature_flags",
        # What Erlang uses between nodes stays on loopback: there is one node.
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }
    server = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    os.execve(server, [server], environment)  # noqa: S606


def rabbitmq_definitions(user: str, password: str) -> dict[str, object]:
    """The user as the server's own import format, which takes any character and is read at every start."""
    salt = secrets.token_bytes(4)
    salted_hash = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
    return {
        "vhosts": [{"name": "/"}],
        "users": [
            {
                "name": user,
                "password_hash": salted_hash,
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": ["administrator"],
            }
        ],
        "permissions": [{"user": user, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
    }


def become_s3(home: Path) -> NoReturn:
    identities = s3_identities(take_secret("S3_ACCESS_KEY"), take_secret("S3_SECRET_KEY"))
    (home / "volumes").mkdir(parents=True, exist_ok=True)
    write_json(home / "identities.json", identities)
    # Clients see the S3 port alone; what the servers inside say to each other stays on loopback, and nothing
    # is reported to the maker.
    arguments = ["weed", "-logtostderr=true", "server", f"-dir={home}/volumes"]
    arguments += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
    arguments += ["-volume.max=50", "-master.volumeSizeLimitMB=256"]
    arguments += ["-s3", "-s3.ip.bind=0.0.0.0", f"-s3.port={os.environ.get('S3_PORT', '8333')}"]
    arguments += [f"-s3.config={home}/identities.json"]
    os.execvp("weed", arguments)  # noqa: S606, S607


def s3_identities(access_key: str, secret_key: str) -> dict[str, object]:
    """One identity that may do everything, as SeaweedFS reads it."""
    return {
        "identities": [
            {
                "name": "devstack",
                "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
        ]
    }


def take_secret(name: str) -> str:
    """The value of an environment variable, which the server to come does not inherit."""
    value = os.environ.pop(name, "")
    if not value:
        fail(f"set the environment variable {name}")
    return value


def write_json(path: Path, document: dict[str, object]) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")


def fail(sentence: str) -> NoReturn:
    sys.stderr.write(f"devstack: {sentence}.\n")
    raise SystemExit(USAGE_EXIT)


if __name__ == "__main__":
    main(sys.argv[1:])
