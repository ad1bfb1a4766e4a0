# Does the owner answer this at all, and what at most? Decided by the owner's node, with the
# federation's agreements and again with the owner's own; it can narrow the grant, not widen it.
package fairlead.sovereignty

import data.fairlead.agreement
import data.fairlead.facts
import data.fairlead.question
import data.fairlead.verdict

# METADATA
# entrypoint: true
decision := verdict.of(checks, terms, {"agreement_covers": agreement.shortfall(owner, ids)})

owner := object.get(input, "owner", {})

ids := agreement.covering(owner)

checks := object.union(agreement.pair(owner, ids), {
	"input_valid": input_valid,
	"asker_known": question.asker_known,
	"purpose_known": question.purpose_known,
	"legal_basis_fits": question.legal_basis_fits,
	"query_bounded": question.query_bounded,
	"grant_current": grant_current,
	"grant_matches": grant_matches,
	"facets_granted": facets_granted,
})

default input_valid := false

input_valid if {
	facts.head("sovereignty", {"query", "asker", "owner", "grant"})
	facts.question_opened(input.query)
	facts.party(input.asker)
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

facets := agreement.expand(input.grant.facets) & agreement.shared_facets(ids)

default terms := {}

terms := object.union(agreement.terms(owner, ids), {"facets": agreement.compact(facets)})
