from licensing import riders
from licensing.detection import Detection

KNOWN_HITS = {"O-UDA-1.0", "LicenseRef-scancode-openatom-model-1.0"}
"""Data and model licenses that do speak of models."""


def test_permissive_texts_have_no_riders(scancode, policy):
    from licensedcode.cache import get_licenses_db

    checked = 0
    for lic in get_licenses_db().values():
        if lic.text and lic.spdx_license_key and policy.decide(lic.spdx_license_key).permitted:
            recognised = [Detection(lic.spdx_license_key, "d", "r", 100.0, 0, len(lic.text))]
            found = riders.find(lic.text, recognised)
            assert not found or lic.spdx_license_key in KNOWN_HITS, (lic.spdx_license_key, found)
            checked += 1
    assert checked > 900


def test_unrecognised_restrictions():
    assert [d.rule for d in riders.find("You may not redistribute this.")] == ["distribution"]
    assert riders.find("Do what you like with it.") == []


def test_a_text_of_topic_words_is_bounded():
    found = riders.find("machine learning " * 4000)
    assert all(d.end - d.start <= 2 * riders.MAX_SENTENCE + 100 for d in found)
