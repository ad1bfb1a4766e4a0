# Does the owner answer this at all, and what at most? Decided by the owner's node, with the
# federation's agreements and again with the owner's own; it can narrow the grant, not widen it.
#
# METADATA
# scope: package
# schemas:
#   - input: schema.sovereignty
package fairlead.sovereignty

import data.fairlead.agreement
import data.fairlead.facts
import data.fairlead.question
import data.fairlead.terms
import data.fairlead.verdict

# METADATA
# entrypoint: true
decision := object.union(
	verdict.of(checks, permitted, agreement.particular(about)),
	{"policy": data.federation.policy},
)

owner := object.get(input, "owner", {})

about := agreement.about(owner)

checks := object.union(agreement.checks(question.evidence, about), {
	"input_valid": input_valid,
	"second_approvers_agreed": terms.second_approvers_agreed(granted),
	"grant_current": grant_current,
	"grant_matches": grant_matches,
	"facets_granted": facets_granted,
})

default input_valid := false

input_valid if {
	facts.head("sovereignty", {"query", "asker", "approvals", "owner", "grant"})
	facts.question_opened(input.query)
	facts.party(input.asker)
	facts.natural(input.approvals)
	facts.party(input.owner)
	facts.grant(input.grant)
}

default grant_current := false

grant_current if input.now < input.grant.expires_at

default grant_matches := false

grant_matches if {
	input.grant.mode == input.query.mode
	input.grant.policy_serial >= 1
}

default facets_granted := false

facets_granted if count(facets) > 0

facets := terms.expand(input.grant.facets) & terms.shared_facets(about.ids)

granted := terms.of(about.ids, about.between_police)

default permitted := {}

permitted := object.union(granted, {"facets": terms.compact(facets)})
