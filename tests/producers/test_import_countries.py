"""Countries of a record are codes of ISO 3166. Other texts are mapped, or dropped and counted."""

import pytest
from producers_import import import_text, orders_of

from connectors.formats.country_codes import country_codes
from features.errors import UsageError

ORDERS = """\
kind: orders
file: {format: csv}
time: {column: day}
order: {rows: order, id: id, customer: who, total: total, country: country}
"""
NO_CODE = "country without a code: the record has none"


def imported(tmp_path, countries, mapping=ORDERS):
    rows = "".join(f"{number},ann,2024-01-01,5,{country}\n" for number, country in enumerate(countries))
    report = import_text(tmp_path, "id,who,day,total,country\n" + rows, mapping)
    return [country for (country,) in orders_of(tmp_path / "a", "country")], report


def test_two_characters_that_are_no_code_are_dropped_and_counted(tmp_path):
    found, report = imported(tmp_path, ["GB", "UK", "GR", "EL", "EU", "AN", "XX", "gb", ""])
    assert found == ["GB", None, "GR", None, None, None, None, None, None]
    assert (report.dropped, report.refused) == ({NO_CODE: 6}, {})


def test_two_characters_of_the_file_may_stand_for_a_code(tmp_path):
    found, report = imported(tmp_path, ["GB", "UK", "EL", "EU"], ORDERS + "countries: {UK: GB, EL: GR, EU: null}\n")
    assert found == ["GB", "GB", "GR", None]
    assert report.dropped == {}


@pytest.mark.parametrize("code", ["UK", "XK", "gb", "GBR"])
def test_code_of_a_mapping_that_iso_3166_lacks_is_an_error(tmp_path, code):
    with pytest.raises(UsageError, match=rf"line 5.*no code {code} in ISO 3166 alpha-2"):
        imported(tmp_path, ["GB"], ORDERS + f"countries: {{Kosovo: {code}}}\n")


def test_codes_are_those_of_iso_3166():
    assert len(country_codes()) == 249
    assert {"GB", "GR", "NO", "NA", "TW", "SS"} < country_codes()
