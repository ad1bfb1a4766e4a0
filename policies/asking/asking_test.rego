package fairlead.asking_test

import data.fairlead.asking
import data.fairlead.fixtures as f

decide(document) := d if {
	d := asking.decision with input as document with data.federation as f.federation
}

# A user with an open case may ask the partners an agreement covers, and only those.
test_permits_covered_partners if {
	d := decide(f.asking)
	d.effect == "permit"
	permitted := {id | some id, c in f.each(d); c.effect == "permit"}
	permitted == {"south", "north"}
	f.codes(f.each(d).hauler) == {"BLIND_REQUIRED"}
	"SAME_PARTNER" in f.codes(f.each(d).customs)
}

# The same question is permitted blind where sealed is not.
test_blind_is_permitted_where_required if {
	d := decide(f.put(f.asking, "/query/mode", "blind"))
	f.each(d).hauler.effect == "permit"
}

# A bought analyst without a case hears exactly that, and nobody is asked.
test_without_a_case if {
	d := decide(f.put(f.asking, "/case", null))
	d.effect == "deny"
	f.codes(d) == {"CASE_MISSING", "NO_PARTNER"}
	every _, c in f.each(d) {
		c.effect == "deny"
	}
}

test_case_must_fit if {
	"CASE_CLOSED" in f.codes(decide(f.put(f.asking, "/case/open", false)))
	"CASE_CLOSED" in f.codes(decide(f.put(f.asking, "/case/expires_at", 1000)))
	"CASE_NOT_ASSIGNED" in f.codes(decide(f.put(f.asking, "/case/assigned", false)))
	"CASE_MISMATCH" in f.codes(decide(f.put(f.asking, "/case/purpose", "delicate")))
	"CASE_MISMATCH" in f.codes(decide(f.put(f.asking, "/case/legal_basis", "other")))
	"CASE_MISMATCH" in f.codes(decide(f.put(f.asking, "/case/schemes", ["plate"])))
}

# A role may ask in general and still not under this agreement.
test_roles if {
	"USER_ROLE" in f.codes(decide(f.put(f.asking, "/user/roles", ["auditor"])))
	"ROLE_NOT_COVERED" in f.codes(f.each(decide(f.put(f.asking, "/user/roles", ["trainee"]))).south)
}

# A candidate filed under another's id is no input.
test_candidate_under_another_id if {
	f.codes(decide(f.put(f.asking, "/candidates/south/partner_id", "north"))) == {"INPUT_INVALID"}
}

# A large batch obliges to a second person; nobody to ask is a denial.
test_batch_and_nobody if {
	d := decide(f.put(f.asking, "/query/term_count", 51))
	"TOO_MANY_TERMS" in f.codes(f.each(d).south)
	decide(f.asking).obligations.approvals == 0
	f.codes(decide(f.put(f.asking, "/candidates", {}))) == {"NO_PARTNER"}
}

# Who must agree before it is sent is an obligation here, and a check where it arrives.
test_second_approvers if {
	d := asking.decision with input as f.asking
		with data.federation as f.amended("wide", "/second_approvers", 2)
	f.each(d).south.effect == "permit"
	f.each(d).south.obligations.second_approvers == 2
	f.each(decide(f.asking)).south.obligations.second_approvers == 0
}
