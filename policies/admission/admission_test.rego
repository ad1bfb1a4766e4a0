package fairlead.admission_test

import data.fairlead.admission
import data.fairlead.fixtures as f

decide(document) := d if {
	d := admission.decision with input as document with data.federation as f.federation
}

test_permits if {
	d := decide(f.admission)
	d.effect == "permit"
	d.facets == ["contact_desk", "count_band", "existence", "full_record"]
	d.obligations.max_records == 40
}

# The gateway must not be told the window or the events.
test_sealed_part_stays_sealed if {
	f.codes(decide(f.put(f.admission, "/query/window_days", 30))) == {"INPUT_INVALID"}
	f.codes(decide(f.put(f.admission, "/query/events", []))) == {"INPUT_INVALID"}
}

test_each_fault_has_its_reason if {
	f.codes(decide(f.put(f.admission, "/case_open", false))) == {"CASE_CLOSED"}
	f.codes(decide(f.put(f.admission, "/user_assigned", false))) == {"CASE_NOT_ASSIGNED"}
	f.codes(decide(f.put(f.admission, "/user/roles", []))) == {"USER_ROLE"}
	f.codes(decide(f.put(f.admission, "/query/legal_basis", "other"))) == {"LEGAL_BASIS"}
	f.codes(decide(f.put(f.admission, "/query/schemes", []))) == {"QUERY_LIMITS"}
	f.codes(decide(f.put(f.admission, "/query/term_count", 0))) == {"QUERY_LIMITS"}
	f.codes(decide(f.put(f.admission, "/query/term_count", 101))) == {"QUERY_LIMITS", "APPROVAL_REQUIRED"}
	"ASKER_UNKNOWN" in f.codes(decide(f.put(f.admission, "/asker/sector", "private")))
	"PURPOSE_UNKNOWN" in f.codes(decide(f.put(f.admission, "/query/purpose", "curiosity")))
}

# A purpose that demands two others is not asked with one.
test_approvals if {
	delicate := f.put(f.admission, "/query/purpose", "delicate")
	f.codes(decide(f.put(delicate, "/approvals", 1))) == {"APPROVAL_REQUIRED"}
	decide(f.put(delicate, "/approvals", 2)).effect == "permit"
	batch := f.put(f.admission, "/query/term_count", 51)
	f.codes(decide(batch)) == {"APPROVAL_REQUIRED"}
	decide(f.put(batch, "/approvals", 1)).effect == "permit"
}

# Rego orders null and strings around numbers; neither may count as an amount.
test_types_do_not_compare_into_permits if {
	f.codes(decide(f.put(f.admission, "/query/term_count", null))) == {"INPUT_INVALID"}
	f.codes(decide(f.put(f.admission, "/approvals", "9"))) == {"INPUT_INVALID"}
	f.codes(decide(f.put(f.admission, "/now", null))) == {"INPUT_INVALID"}
}
