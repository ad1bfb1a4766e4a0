# Which owners may be asked, and what may each answer at most? Decided by the gateway for all
# candidates at once; each owner decides again.
package fairlead.routing

import data.fairlead.agreement
import data.fairlead.facts
import data.fairlead.question
import data.fairlead.verdict

# METADATA
# entrypoint: true
decision := object.union(overall, {"candidates": candidates})

overall := verdict.of(
	object.union(general, {"partner_available": partner_available}),
	verdict.ceiling,
	{},
)

candidates[id] := answer if {
	some id, owner in input.candidates
	ids := agreement.covering(owner)
	answer := verdict.of(
		object.union(general, agreement.pair(owner, ids)),
		agreement.terms(owner, ids),
		{"agreement_covers": agreement.shortfall(owner, ids)},
	)
}

general := {
	"input_valid": input_valid,
	"asker_known": question.asker_known,
	"purpose_known": question.purpose_known,
	"legal_basis_fits": question.legal_basis_fits,
	"query_bounded": question.query_bounded,
}

default input_valid := false

input_valid if {
	facts.head("routing", {"query", "asker", "candidates"})
	facts.question_sealed(input.query)
	facts.party(input.asker)
	facts.candidates(input.candidates)
}

default partner_available := false

partner_available if {
	some _, candidate in candidates
	candidate.effect == "permit"
}
