# May this user ask this, in this mode, and whom? Decided by the asker's own node, with one
# decision per partner that might be asked.
#
# METADATA
# scope: package
# schemas:
#   - input: schema.asking
package fairlead.asking

import data.fairlead.agreement
import data.fairlead.candidates
import data.fairlead.facts
import data.fairlead.question
import data.fairlead.terms
import data.fairlead.verdict

# METADATA
# entrypoint: true
decision := object.union(overall, {
	"candidates": candidates.names,
	"decisions": decisions,
	"policy": data.federation.policy,
})

overall := verdict.of(
	object.union(general, {"partner_available": partner_available}),
	object.union(verdict.ceiling, {"obligations": {"approvals": approvals}}),
	case_codes,
)

decisions := {kind: answer |
	some [kind, facts] in candidates.kinds
	permitted := terms.of(facts.ids, facts.between_police)
	answer := verdict.of(
		agreement.checks(general, facts),
		permitted,
		object.union(case_codes, agreement.particular(facts)),
	)
}

general := object.union(question.evidence, {
	"input_valid": input_valid,
	"user_permitted": question.user_permitted,
	"case_open": case_open,
	"user_assigned": user_assigned,
	"case_covers": case_covers,
})

default input_valid := false

input_valid if {
	facts.head("asking", {"query", "asker", "user", "case", "approvals", "candidates"})
	facts.question_opened(input.query)
	facts.party(input.asker)
	facts.user(input.user)
	facts.case(input.case)
	facts.natural(input.approvals)
	candidates.valid
}

default case_open := false

case_open if {
	input.case.open == true
	input.now < input.case.expires_at
}

default user_assigned := false

user_assigned if input.case.assigned == true

default case_covers := false

case_covers if {
	input.case.purpose == input.query.purpose
	input.case.legal_basis == input.query.legal_basis
	every scheme in input.query.schemes {
		scheme in input.case.schemes
	}
}

# A user without any case hears that, and not what a case would have to look like.
case_codes := {
	"case_open": "CASE_MISSING",
	"user_assigned": "CASE_MISSING",
	"case_covers": "CASE_MISSING",
} if {
	is_null(input.case)
} else := {"case_covers": "CASE_MISMATCH"}

default partner_available := false

partner_available if {
	some _, answer in decisions
	answer.effect == "permit"
}

default approvals := 1

approvals := question.approvals_needed
