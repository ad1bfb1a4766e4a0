# Whom of many? Candidates that differ in nothing a rule looks at are decided together: a decision
# for each kind of candidate, and for each candidate the name of its kind.
package fairlead.candidates

import data.fairlead.agreement

about[id] := agreement.about(owner) if some id, owner in input.candidates

names[id] := name(facts) if some id, facts in about

kinds contains [name(facts), facts] if some _, facts in about

# Everything in `facts` is in the name: the sides follow from what is lacking.
name(facts) := concat(" ", [
	bits[facts.between_police],
	concat("", [
		bits[facts.standing.partner_known], bits[facts.standing.partner_located],
		bits[facts.standing.other_partner], bits[facts.standing.schemes_answered],
	]),
	concat("+", sort(facts.ids)),
	facts.lacks,
])

bits := {true: "1", false: "0"}
