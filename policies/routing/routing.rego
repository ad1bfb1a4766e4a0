# Which owners may be asked, and what may each answer at most? Decided by the gateway for all
# candidates at once; each owner decides again.
#
# METADATA
# scope: package
# schemas:
#   - input: schema.routing
package fairlead.routing

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
	verdict.ceiling,
	{},
)

decisions := {kind: answer |
	some [kind, facts] in candidates.kinds
	permitted := terms.of(facts.ids, facts.between_police)
	answer := verdict.of(
		object.union(
			agreement.checks(general, facts),
			{"second_approvers_agreed": terms.second_approvers_agreed(permitted)},
		),
		permitted,
		agreement.particular(facts),
	)
}

general := object.union(question.evidence, {"input_valid": input_valid})

default input_valid := false

input_valid if {
	facts.head("routing", {"query", "asker", "approvals", "candidates"})
	facts.question_sealed(input.query)
	facts.party(input.asker)
	facts.natural(input.approvals)
	candidates.valid
}

default partner_available := false

partner_available if {
	some _, answer in decisions
	answer.effect == "permit"
}
