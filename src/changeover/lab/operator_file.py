"""The file that an operator of the lab's site would write."""

import shutil
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

_FILES = resources.files("changeover.lab") / "files"
_MIGRATIONS = resources.files("changeover.lab") / "app" / "v2" / "migrations"

_OF_HOSTS = """\
  pack: systemd-release
  nodes: [$nodes]
  variables: {base: /opt/app, artifacts: /srv/releases, unit: lab-app.service, port: "$port"}"""

_OF_PROCESSES = """\
  nodes: [$nodes]
  variables: {hosts: "$directory/hosts", artifacts: "$directory/releases"}
  start: {shell: "{hosts}/{node}/service start"}
  stop: {shell: "{hosts}/{node}/service stop"}
  running: {shell: "{hosts}/{node}/service status"}
  install:
    # Unpacked beside its final name, so that a directory of that name is always whole.
    shell: |
      set -e
      target={hosts}/{node}/releases/{release}
      test ! -d "$$target" || exit 0
      rm -rf "$$target.partial" && mkdir -p "$$target.partial"
      tar --extract --file={artifacts}/{release}.tar --directory="$$target.partial"
      mv --no-target-directory "$$target.partial" "$$target"
  installed: {shell: "test -d {hosts}/{node}/releases/{release}"}
  remove: {shell: "rm -rf {hosts}/{node}/releases/{release}"}
  switch: {file: "{hosts}/{node}/current", link: "releases/{release}"}
  release: {shell: "readlink {hosts}/{node}/current", match: "([^/]+)/?$$"}"""

_ACCESS_BY_SSH = """
ssh:
  user: $user
  key: $key
  known_hosts: $known_hosts
become: sudo
"""


def operator_file(site: dict[str, Any]) -> str:
    """Return the text of changeover.yaml for a lab as `site` describes it; its SQL files lie beside it."""
    nodes = site["application"]["nodes"]
    embedded = site["form"] == "embedded"
    driver = ", driver: local" if embedded else ""
    values = {
        **site.get("ssh", {}),
        "directory": site["directory"],
        "nodes": ", ".join(nodes),
        "port": str(site["application"]["port"]),
        "hosts": "\n".join(
            f"  {host['name']}: {{address: {host['address']}{driver}}}" for host in site["hosts"]
        ),
        "socket": site["balancer"]["socket"],
        "keep_serving": str(len(nodes) - 1),
        "database": site["database"]["kind"],
        "database_address": site["database"]["address"],
        "database_port": str(site["database"]["port"]),
        "password_file": site["database"]["password_file"],
        "database_more": "",
    }
    if embedded:
        values["database_more"] = (
            f"      snapshot_dir: {site['directory']}/snapshots\n"
            f"      options: {{bin: {site['database']['tools']}}}\n"
        )
    values["access"] = "" if embedded else access_by_ssh(site)
    values["application"] = Template(_OF_PROCESSES if embedded else _OF_HOSTS).substitute(values)
    return Template((_FILES / "changeover.yaml").read_text()).substitute(values)


def access_by_ssh(site: dict[str, Any]) -> str:
    """Return the lines that say how the hosts of a lab are reached."""
    return Template(_ACCESS_BY_SSH).substitute(site["ssh"])


def write_operator_file(site: dict[str, Any]) -> Path:
    """Write it and its SQL files into the lab's directory, where they stay until the lab goes down."""
    directory = Path(site["directory"])
    with resources.as_file(_MIGRATIONS) as migrations:
        shutil.copytree(migrations, directory / "migrations", dirs_exist_ok=True)
    path = directory / "changeover.yaml"
    path.write_text(operator_file(site))
    return path
