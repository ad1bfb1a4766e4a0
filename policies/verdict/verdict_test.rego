package fairlead.verdict_test

import data.fairlead.fixtures as f
import data.fairlead.verdict

terms := {"facets": ["existence"], "obligations": verdict.nothing, "rules": ["wide"]}

test_permit_needs_every_check if {
	verdict.of({"a": true, "b": true}, terms, {}).effect == "permit"
	verdict.of({"a": true, "b": false}, terms, {}).effect == "deny"
	verdict.of({"a": true, "b": "true"}, terms, {}).effect == "deny"
	verdict.of({"a": true, "b": 1}, terms, {}).effect == "deny"
}

# No evidence is no permission.
test_nothing_permits_nothing if {
	verdict.of({}, terms, {}).effect == "deny"
	verdict.of({"a": true}, {}, {}).effect == "deny"
}

test_a_denial_permits_nothing if {
	d := verdict.of({"retained": false}, terms, {})
	d.facets == []
	d.rules == []
	d.obligations.max_records == 0
	d.obligations.onward == "none"
	f.codes(d) == {"RECORD_EXPIRED"}
}

test_codes_by_circumstance if {
	f.codes(verdict.of({"case_covers": false}, terms, {"case_covers": "CASE_MISMATCH"})) == {"CASE_MISMATCH"}
	f.codes(verdict.of({"input_valid": false, "retained": false}, terms, {})) == {"INPUT_INVALID"}
}
