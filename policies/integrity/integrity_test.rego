package fairlead.integrity_test

import data.fairlead.fixtures as f
import data.fairlead.integrity
import data.fairlead.routing

whole(federation) if {
	integrity.policy_whole with data.federation as federation
}

test_whole if {
	whole(f.federation)
}

# The agreement that narrows the other loses a part, and would not cover any more: without this
# check more would be permitted than was signed.
test_a_lost_part_denies_everybody if {
	every path in [
		"/agreements/named", "/agreements/named/purposes", "/agreements/named/purposes/trafficking",
		"/agreements/named/redact/0", "/agreements/named/facets/0", "/agreements/named/max_records",
		"/agreements/named/to/partners/north", "/agreements/named/asker_countries/NL",
		"/sizes/named", "/sizes", "/agreements",
	] {
		broken := f.drop(f.federation, path)
		not whole(broken)
		d := routing.decision with input as f.routing with data.federation as broken
		d.effect == "deny"
		every _, candidate in f.each(d) {
			candidate.effect == "deny"
			"POLICY_INCOMPLETE" in f.codes(candidate)
		}
	}
}

# A word that the registry loses is noticed, whether or not a question says it.
test_a_lost_word if {
	every path in [
		"/size", "/fields", "/fields/driver", "/fields/driver/personal", "/kinds/forwarder",
		"/limits/max_records", "/purposes/delicate/approvals", "/purposes/delicate/legal_bases/law",
		"/legal_bases/law/kinds/police", "/schemes/plate", "/roles/trainee", "/jurisdictions/GB/eu",
		"/jurisdictions/GB/grounds/adequacy", "/instruments/order/court", "/handling/tlp/RED",
		"/handling/active_target", "/cubes/seizures", "/figure_roles/auditor",
		"/statistics/reports-only", "/statistics/reports-only/purposes/trafficking",
	] {
		not whole(f.drop(f.federation, path))
	}
}

# An entry put in is counted as one left out is.
test_an_added_part if {
	not whole(f.put(f.federation, "/agreements/named/schemes/plate", true))
	not whole(f.put(f.federation, "/agreements/more", f.agreement))
	not whole(f.put(f.federation, "/agreements/named/instrument", {"kinds": {}, "authorities": {}}))
}

test_an_instrument_is_counted if {
	demanded := {"kinds": {"order": true}, "authorities": {"court": true}}
	amended := f.amended("named", "/instrument", demanded)
	whole(amended)
	not whole(f.drop(amended, "/agreements/named/instrument/kinds/order"))
}
