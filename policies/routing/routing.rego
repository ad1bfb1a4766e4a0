# Which owners may be asked, and what may each answer at most? Decided by the gateway for all
# candidates at once; each owner decides again.
package fairlead.routing

import data.fairlead.agreement
import data.fairlead.facts
import data.fairlead.question
import data.fairlead.terms
import data.fairlead.verdict

# METADATA
# entrypoint: true
decision := object.union(overall, {"candidates": candidates, "policy": data.federation.policy})

overall := verdict.of(
	object.union(general, {"partner_available": partner_available}),
	verdict.ceiling,
	{},
)

candidates[id] := answer if {
	some id, owner in input.candidates
	ids := agreement.covering(owner)
	answer := verdict.of(
		object.union(object.union(general, agreement.pair(owner, ids)), {"second_approvers_agreed": agreement.second_approvers_agreed(ids)}),
		terms.of(owner, ids),
		agreement.particular(owner, ids),
	)
}

general := object.union(question.evidence, {"input_valid": input_valid})

default input_valid := false

input_valid if {
	facts.head("routing", {"query", "asker", "approvals", "candidates"})
	facts.question_sealed(input.query)
	facts.party(input.asker)
	facts.natural(input.approvals)
	facts.candidates(input.candidates)
}

default partner_available := false

partner_available if {
	some _, candidate in candidates
	candidate.effect == "permit"
}
