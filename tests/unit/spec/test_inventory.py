"""Ansible inventories as the source of hosts and groups."""

import shutil
from pathlib import Path

import pytest

from changeover.model.site import Become, Site
from changeover.spec import InvalidSpecError, load
from tests.unit.spec.conftest import Written

INVENTORIES = Path(__file__).with_name("inventories")

SPEC = """\
site: identity
hosts: {hosts}
become: none
application:
  pack: systemd-release
  nodes: {nodes}
  variables: {{unit: a.service, base: /opt/a, artifacts: /srv/releases, port: 5000}}
upgrade: {{from: v1, to: v2, keep_serving: 0}}
"""


class Inventories:
    """A spec whose hosts come from inventories."""

    def __init__(self, files: Written) -> None:
        shutil.copytree(INVENTORIES, files.directory, dirs_exist_ok=True)
        self.files = files

    def site(self, hosts: str, nodes: str = "web") -> Site:
        """The site with these hosts."""
        self.files.write("site.yaml", SPEC.format(hosts=hosts, nodes=nodes))
        return load(self.files.path, environ={}).site

    def problems(self, hosts: str, nodes: str = "web") -> list[str]:
        """What is wrong with these hosts."""
        with pytest.raises(InvalidSpecError) as caught:
            self.site(hosts, nodes)
        return [str(problem) for problem in caught.value.problems]


@pytest.fixture
def inventories(files: Written) -> Inventories:
    """The inventories beside a spec."""
    return Inventories(files)


def test_ini(inventories: Inventories) -> None:
    """Groups in groups, ranges, ports, quotes, and the nearest variable wins."""
    site = inventories.site("{ansible: production.ini}")
    assert [host.name for host in site.hosts] == [
        "bastion",
        "lb1",
        "db1",
        "app01",
        "app03",
        "blue-a",
        "blue-b",
    ]
    app, database = site.host("app03"), site.host("db1")
    assert (app.address, app.driver, app.become) == ("app03", "ssh", Become())
    assert (app.ssh.user, app.ssh.port, app.ssh.jump, app.ssh.check_host_key) == (
        "deploy",
        22,
        "bastion",
        False,
    )
    assert (database.address, database.ssh.user, database.ssh.port) == ("10.77.0.12", "data base", 2222)
    assert database.become is None
    assert site.host("blue-a").driver == "local"
    assert [node.host for node in site.application.nodes] == ["app01", "app03", "blue-a", "blue-b"]


def test_yaml(inventories: Inventories) -> None:
    """Hosts without a value, variables at every level, and those in the directories beside the file."""
    site = inventories.site("{ansible: production.yaml}")
    app1, app3, database = site.host("app1"), site.host("app3"), site.host("db1")
    assert (app1.address, app1.ssh.user, app1.ssh.port) == ("app1", "site", 2200)
    assert app1.become == Become(user="admin")
    assert (app3.address, app3.ssh.user, app3.ssh.port) == ("10.77.0.19", "own", 2299)
    assert database.ssh.key == str(inventories.files.directory / "group_vars/keys/database")
    assert site.host("lb1").ssh.user == "everybody"


def test_limit_and_groups(inventories: Inventories) -> None:
    """Only the hosts in the groups and within the limit are taken."""
    one = "{ansible: {inventory: production.ini, groups: [web, databases, ungrouped], limit: 'app*,db1,lb1,bastion'}}"
    assert [host.name for host in inventories.site(one).hosts] == [
        "bastion",
        "db1",
        "app01",
        "app03",
    ]


def test_sources_are_mixed(inventories: Inventories) -> None:
    """Several inventories and hosts of the spec add up."""
    inventories.files.write("more.ini", "[web]\nextra ansible_host=10.0.0.9\n")
    site = inventories.site("{own: 10.0.0.1, ansible: [production.yaml, more.ini]}")
    assert site.host("own").address == "10.0.0.1"
    assert [node.host for node in site.application.nodes] == ["app1", "app2", "app3", "extra"]


MISTAKES = {
    "a script": ("hosts.ini", "#!/bin/sh\necho {}\n", "hosts.ini:1:1  inventory scripts are not run"),
    "a vault": ("hosts.ini", "$ANSIBLE_VAULT;1.1;AES256\n616161\n", "hosts.ini:1:1  vaults are not opened"),
    "a plugin": (
        "hosts.yaml",
        "plugin: aws_ec2\nregions: [x]\n",
        "hosts.yaml:1:1  plugin: inventory plugins are not run",
    ),
    "a template": (
        "hosts.ini",
        "[web]\na ansible_host={{x}}\n",
        "hosts.ini:2:1  ansible_host: templates are not filled",
    ),
    "a vaulted value": (
        "hosts.yaml",
        "web: {hosts: {a: {ansible_user: !vault canary}}}\n",
        "hosts.yaml:1:33  web.hosts.a.ansible_user: vaults are not opened",
    ),
    "a password": (
        "hosts.ini",
        "[web]\na ansible_password=canary\n",
        "hosts.ini:2:1  ansible_password: secrets are not taken from inventories: give `ssh.password`",
    ),
    "a section of no kind": (
        "hosts.ini",
        "[web:hots]\na\n",
        "hosts.ini:1:1  expected [group], [group:children] or [group:vars]",
    ),
    "an unclosed quote": (
        "hosts.ini",
        "[web]\na x='y\n",
        "hosts.ini:2:1  this line cannot be read: no closing quotation",
    ),
    "a word without a value": ("hosts.ini", "[web]\na b\n", "hosts.ini:2:1  expected name=value"),
    "an unknown child": (
        "hosts.ini",
        "[web:children]\nwbe\n",
        "hosts.ini:2:1  there is no such group in this inventory; did you mean 'web'?",
    ),
    "groups in a circle": (
        "hosts.ini",
        "[a:children]\nb\n[b:children]\na\n",
        "these groups contain one another: ",
    ),
    "a bad range": (
        "hosts.ini",
        "[web]\na[9:1]\n",
        "hosts.ini:2:1  this line cannot be read: the range [9:1] runs backwards",
    ),
    "an unknown connection": (
        "hosts.ini",
        "[web]\na ansible_connection=winrm\n",
        "hosts.ini:2:1  ansible_connection: this connection is not to be had here",
    ),
    "an argument of ssh": (
        "hosts.ini",
        "[web]\na ansible_ssh_common_args='-o ProxyCommand=x'\n",
        "only -J, ProxyJump, StrictHostKeyChecking",
    ),
    "a port that is none": (
        "hosts.ini",
        "[web]\na ansible_port=x\n",
        "hosts.ini:2:1  ansible_port: expected a whole number",
    ),
    "a method that is not to be had": (
        "hosts.ini",
        "[web]\na ansible_become_method=runas\n",
        "hosts.ini:2:1  ansible_become_method: unknown value",
    ),
    "an unknown part of a group": (
        "hosts.yaml",
        "web: {host: {a: }}\n",
        "hosts.yaml:1:7  web.host: unknown key; did you mean 'hosts'?",
    ),
    "a list": ("hosts.yaml", "- a\n", "hosts.yaml:1:1  expected a mapping"),
    "no host at all": ("hosts.yaml", "# later\n", "site.yaml:2:8  hosts: there is no host"),
}


@pytest.mark.parametrize(("name", "text", "problem"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_is_told_with_its_place(inventories: Inventories, name: str, text: str, problem: str) -> None:
    """What only Ansible can work out, or nobody, is told at its place, and no secret with it."""
    inventories.files.write(name, text)
    found = inventories.problems(f"{{ansible: {name}}}")
    assert problem in found[0]
    assert "canary" not in "\n".join(found)


def test_password_is_fine_where_the_spec_refers_to_it(inventories: Inventories) -> None:
    """An inventory shared with Ansible may keep its password when the spec has its own reference."""
    inventories.files.write("hosts.ini", "[web]\na ansible_password=canary\n")
    text = SPEC.format(hosts="{ansible: hosts.ini}", nodes="web")
    inventories.files.write("site.yaml", text + "ssh: {password: {env: PASSWORD}}\n")
    assert "canary" not in repr(load(inventories.files.path))


def test_unknown_group_and_limit(inventories: Inventories) -> None:
    """Names that choose among the inventory's hosts are held against it."""
    found = inventories.problems("{ansible: {inventory: production.ini, groups: wbe, limit: 'app09'}}")
    assert "there is no group wbe in the inventory; did you mean 'web'?" in found[0]
    assert "app09 limits to no host; did you mean 'app0" in found[1]


def test_host_in_two_sources(inventories: Inventories) -> None:
    """The same host in the spec and in an inventory is a mistake."""
    found = inventories.problems("{lb1: 10.0.0.1, ansible: production.ini}")
    assert found == ["production.ini:5:1  the host lb1 is also in site.yaml:2"]
