package fairlead.routing_test

import data.fairlead.fixtures as f
import data.fairlead.routing

decide(document) := d if {
	d := routing.decision with input as document with data.federation as f.federation
}

reason(document, id) := f.codes(f.each(decide(document))[id])

test_permits_covered_partners if {
	d := decide(f.routing)
	d.effect == "permit"
	f.each(d).south.rules == ["wide"]
	f.each(d).south.facets == ["contact_desk", "existence", "full_record"]
	f.each(d).south.obligations.redact == ["driver"]
	reason(f.routing, "hauler") == {"BLIND_REQUIRED"}
}

# Where two agreements cover one question, the narrowest of each term holds.
test_overlapping_agreements_meet if {
	c := f.each(decide(f.routing)).north
	{r | some r in c.rules} == {"wide", "named"}
	{x | some x in c.facets} == {"existence", "field:plate", "field:driver"}
	{x | some x in c.obligations.redact} == {"seal", "driver"}
	c.obligations.max_records == 7
	c.obligations.notice_delay_s == 9
}

# An agreement speaks between its two dates only.
test_validity if {
	reason(f.put(f.routing, "/now", 499), "south") == {"NO_AGREEMENT"}
	f.each(decide(f.put(f.routing, "/now", 500))).south.effect == "permit"
	reason(f.put(f.routing, "/now", 2000), "south") == {"NO_AGREEMENT"}
}

test_each_side_has_its_reason if {
	"PURPOSE_NOT_COVERED" in reason(f.put(f.routing, "/query/purpose", "delicate"), "south")
	"SCHEME_NOT_COVERED" in reason(f.put(f.routing, "/query/schemes", ["plate"]), "south")
	"TOO_MANY_TERMS" in reason(f.put(f.routing, "/query/term_count", 11), "south")
	"SCHEME_NOT_ANSWERED" in reason(f.put(f.routing, "/candidates/south/schemes", ["plate"]), "south")
	"PARTNER_UNKNOWN" in reason(f.put(f.routing, "/candidates/south/kind", "bank"), "south")
	f.codes(decide(f.drop(f.routing, "/candidates/south/country"))) == {"INPUT_INVALID"}
}

# A partner called "customs" is not customs: kinds and ids are told apart.
test_an_id_is_not_a_kind if {
	impostor := f.put(f.routing, "/asker", f.party("customs", "terminal", "private"))
	reason(impostor, "south") == {"NO_AGREEMENT"}
}

# An agreement may demand that somebody else at the asker agrees; the gateway counts.
test_second_approvers if {
	strict := f.amended("wide", "/second_approvers", 1)
	alone := routing.decision with input as f.routing with data.federation as strict
	f.codes(f.each(alone).south) == {"SECOND_APPROVER_REQUIRED"}
	together := routing.decision with input as f.put(f.routing, "/approvals", 1) with data.federation as strict
	f.each(together).south.effect == "permit"
	f.each(together).south.obligations.second_approvers == 1
}
