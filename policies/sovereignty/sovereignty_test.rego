package fairlead.sovereignty_test

import data.fairlead.fixtures as f
import data.fairlead.sovereignty

decide(document) := d if {
	d := sovereignty.decision with input as document with data.federation as f.federation
}

# The owner's facets are those of the grant that its agreements also have.
test_narrows_the_grant if {
	d := decide(f.sovereignty)
	d.effect == "permit"
	{x | some x in d.facets} == {"existence", "full_record"}
	narrow := decide(f.put(f.sovereignty, "/owner", f.north))
	{x | some x in narrow.facets} == {"existence", "field:plate", "field:driver"}
	alone := decide(f.put(f.sovereignty, "/grant/facets", ["field:seal", "field:unheard_of"]))
	alone.facets == ["field:seal"]
}

test_grant_must_fit if {
	f.codes(decide(f.put(f.sovereignty, "/grant/expires_at", 1000))) == {"GRANT_EXPIRED"}
	f.codes(decide(f.put(f.sovereignty, "/grant/mode", "blind"))) == {"GRANT_MISMATCH"}
	f.codes(decide(f.put(f.sovereignty, "/grant/policy_serial", 0))) == {"GRANT_MISMATCH"}
	f.codes(decide(f.put(f.sovereignty, "/grant/facets", ["count_band"]))) == {"NOTHING_GRANTED"}
	f.codes(decide(f.put(f.sovereignty, "/grant/facets", []))) == {"NOTHING_GRANTED"}
}

# The owner sees the window that the gateway could not, and a window without end is no window.
test_window if {
	"WINDOW_TOO_LONG" in f.codes(decide(f.put(f.sovereignty, "/query/window_days", 91)))
	"WINDOW_TOO_LONG" in f.codes(decide(f.put(f.sovereignty, "/query/window_days", null)))
	"BLIND_REQUIRED" in f.codes(decide(f.put(f.sovereignty, "/owner", f.hauler)))
}

# The owner believes no gateway that the second person agreed.
test_second_approvers if {
	strict := f.amended("wide", "/second_approvers", 1)
	d := sovereignty.decision with input as f.sovereignty with data.federation as strict
	f.codes(d) == {"SECOND_APPROVER_REQUIRED"}
}
