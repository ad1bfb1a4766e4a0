# May this question enter the exchange? Decided by the gateway before it looks at any owner.
#
# METADATA
# scope: package
# schemas:
#   - input: schema.admission
package fairlead.admission

import data.fairlead.facts
import data.fairlead.question
import data.fairlead.verdict

# METADATA
# entrypoint: true
decision := object.union(
	verdict.of(checks, verdict.ceiling, {}),
	{"policy": data.federation.policy},
)

checks := object.union(question.evidence, {
	"input_valid": input_valid,
	"user_permitted": question.user_permitted,
	"case_open": case_open,
	"user_assigned": user_assigned,
	"approvals_sufficient": approvals_sufficient,
})

default input_valid := false

input_valid if {
	facts.head("admission", {"query", "asker", "user", "case_open", "user_assigned", "approvals"})
	facts.question_sealed(input.query)
	facts.party(input.asker)
	facts.user(input.user)
	is_boolean(input.case_open)
	is_boolean(input.user_assigned)
	facts.natural(input.approvals)
}

# The asker's node signed both statements; the gateway cannot know the case itself.
default case_open := false

case_open if input.case_open == true

default user_assigned := false

user_assigned if input.user_assigned == true

default approvals_sufficient := false

approvals_sufficient if {
	is_number(input.approvals)
	input.approvals >= question.approvals_needed
}
