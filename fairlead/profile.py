"""A user's profile: which node to talk to, with which certificate, trusting whom.

A small TOML file, found through ``--profile``, ``FAIRLEAD_PROFILE`` or
``~/.config/fairlead/profile.toml``; relative paths start at its folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from fairlead.config import Endpoint, Existing, Table, load
from fairlead.errors import NotEnrolled

ENVIRONMENT = "FAIRLEAD_PROFILE"


class Profile(Table):
    """``profile.toml``."""

    node: str = Field(description='the node\'s "host:port"')
    node_id: str = Field(description="the node's SPIFFE id")
    certificate: Existing = Field(description="a path to the user's certificate (PEM)")
    key: Existing = Field(description="a path to the user's private key (PEM)")
    directory: Existing = Field(description="a path to the existing signed directory")
    trust: Existing = Field(description="a path to the existing trust anchors")
    authority: Endpoint | None = Field(
        default=None, description='the user authority\'s "host:port", for renewal'
    )
    authority_certificate: Existing | None = Field(
        default=None, description="a path to the user authority's certificate (PEM)"
    )
    receipts: str = Field(default="receipts", description="a folder for receipts")


def profile_path(option: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the profile is: the option, the environment, or the user's configuration folder.

    :raises NotEnrolled: there is no such file.
    """
    named = option or (Path(environ[ENVIRONMENT]) if environ.get(ENVIRONMENT) else None)
    path = named or Path.home() / ".config" / "fairlead" / "profile.toml"
    if not path.is_file():
        raise NotEnrolled(
            "no profile: this user is not set up on this machine",
            reasons=("NO_PROFILE",),
            remedy="fairlead login …, or set FAIRLEAD_PROFILE, or use --profile",
        )
    return path


def load_profile(option: Path | None) -> tuple[Profile, Path]:
    """The profile and its folder.

    :raises NotEnrolled: none. :raises ConfigurationInvalid: wrong, with every reason.
    """
    path = profile_path(option)
    return load(Profile, path), path.parent
