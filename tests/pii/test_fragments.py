"""Fragments of patterns: what stands between a name and its value, in the syntaxes of many languages."""

import re

import pytest

from pii.matcher import Matcher
from pii.rules import BadRule, load_rules
from pii.rules.examples import expand

TABLE = """rules:
  - {id: acme, kind: key, tier: medium, source: own, pattern: '(?i:acme[_-]?token)(?&assigned)([a-f0-9]{32})', keywords: [acme]}
"""
FORMS = {
    "shell": "export ACME_TOKEN=[[{hex:32}]]\n",
    "shell quoted": 'ACME_TOKEN="[[{hex:32}]]"',
    "python": "acme_token = '[[{hex:32}]]'",
    "python item": 'environ["ACME_TOKEN"] = "[[{hex:32}]]"',
    "python argument": 'f(acme_token="[[{hex:32}]]")',
    "go": 'acmeToken := "[[{hex:32}]]"',
    "go raw": "acmeToken := `[[{hex:32}]]`",
    "json": '{{"acme_token": "[[{hex:32}]]"}}',
    "json in a string": '"{{\\"acme_token\\": \\"[[{hex:32}]]\\"}}"',
    "yaml": "acme_token: [[{hex:32}]]\n",
    "ruby": ":acme_token => '[[{hex:32}]]'",
    "php define": "define('ACME_TOKEN', '[[{hex:32}]]');",
    "typescript": 'const acmeToken: string = "[[{hex:32}]]";',
    "rust": 'const ACME_TOKEN: &str = "[[{hex:32}]]";',
    "java setter": 'setAcmeToken("[[{hex:32}]]")',
    "xml": "<AcmeToken>[[{hex:32}]]</AcmeToken>",
    "app.config": '<add key="AcmeToken" value="[[{hex:32}]]" />',
    "kubernetes": '- name: ACME_TOKEN\n  value: "[[{hex:32}]]"\n',
    "cloudformation": '{{"Name": "ACME_TOKEN",\n "Value": "[[{hex:32}]]"}}',
    "c array": 'char acme_token[] = "[[{hex:32}]]";',
    "objective-c": 'acmeToken = @"[[{hex:32}]]";',
    "python raw": "acme_token = r'[[{hex:32}]]'",
    "python three quotes": 'acme_token = """[[{hex:32}]]"""',
    "markdown table": "| acme_token | [[{hex:32}]] |",
    "property list": "<key>AcmeToken</key>\n  <string>[[{hex:32}]]</string>",
    "terraform variable": 'variable "acme_token" {{\n  default = "[[{hex:32}]]"\n',
    "html meta": '<meta name="acme-token" content="[[{hex:32}]]">',
    "argparse": 'add("--acme-token", default="[[{hex:32}]]")',
    "gradle": 'buildConfigField("String", "ACME_TOKEN", "\\"[[{hex:32}]]\\"")',
    "properties": "acme_token   =   [[{hex:32}]]\n",
}
NOT = {
    "comparison": 'acme_token == "{hex:32}"',
    "no assignment": "acme_token {hex:32}",
    "another line": "acme_token\n{hex:32}\n",
    "another name": "acme_token_name = x, sha = {hex:32}",
}


@pytest.mark.parametrize("use_hyperscan", [True, False], ids=["hyperscan", "keywords"])
@pytest.mark.parametrize("form", FORMS)
def test_a_value_given_to_a_name(form, use_hyperscan):
    rules = load_rules(TABLE, "t.yaml")
    body, span = expand(FORMS[form], form)
    assert [f[:2] for f in Matcher(rules, use_hyperscan=use_hyperscan).findings(body)] == [span]


@pytest.mark.parametrize("form", NOT)
def test_a_value_that_is_not(form):
    assert Matcher(load_rules(TABLE, "t.yaml")).findings(expand(NOT[form], form)[0]) == []


def test_an_unknown_fragment_is_named():
    with pytest.raises(
        BadRule, match=re.escape("t.yaml, line 2, rule 'acme': no fragment is called 'asigned'")
    ):
        load_rules(TABLE.replace("&assigned", "&asigned"), "t.yaml")
