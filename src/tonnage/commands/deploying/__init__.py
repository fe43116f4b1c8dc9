"""Deployment files: a plan and a project, written as a platform wants to read it.

`told` gathers what the files say; `images`, `hosted` and `hosts` are the files themselves, and all
are pure. `project` looks at a directory, `installed` tells what pip would lack there, `writing`
puts files there, and `command` is what `tonnage init` runs.

Does not: talk to a platform, run a container, import the application, or know a secret's value.
Bounds: a handful of files of some kilobytes each; nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from tonnage.commands.deploying import hosted, hosts, images
from tonnage.commands.deploying.told import File, Told

__all__ = ["PLATFORMS", "File", "Told"]

#: What writes the files for each platform.
PLATFORMS: Final[Mapping[str, Callable[[Told], tuple[File, ...]]]] = MappingProxyType(
    {
        "render": hosted.render,
        "railway": hosted.railway,
        "fly": hosted.fly,
        "heroku": hosted.heroku,
        "docker": images.docker,
        "compose": images.compose,
        "systemd": hosts.systemd,
        "kubernetes": hosts.kubernetes,
    }
)
