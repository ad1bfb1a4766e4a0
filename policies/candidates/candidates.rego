# Whom of many? Candidates that differ in nothing a rule looks at are decided together: a decision
# for each kind of candidate, and for each candidate the name of its kind.
package fairlead.candidates

import data.fairlead.agreement
import data.fairlead.facts

names := {id: name_of[like] | some id, like in likeness}

kinds := {[name_of[like], known] | some like, known in about}

# All that rules look at: of the id, whether it is the asker's, or one that an agreement of the
# asker's names or lost. What is no partner under its own id is alike to nothing.
likeness := object.union({id: [] | some id, _ in input.candidates}, {id: like |
	some id, owner in input.candidates
	owner.partner_id == id
	id != ""
	count(owner) == 5
	like := [
		owner.kind, owner.sector, owner.country, owner.schemes,
		object.get(told_apart, id, "-"),
	]
})

# The partner whom all of these are like, for the rules.
partner(like) := {
	"kind": like[0], "sector": like[1], "country": like[2], "schemes": like[3],
	"partner_id": like[4],
} if {
	count(like) == 5
} else := {}

told_apart := {id: id |
	some id in (({input.asker.partner_id} | named) | lost)
}

named := {id |
	some agreement_id in agreement.asked_by
	some id, _ in data.federation.agreements[agreement_id].to.partners
}

lost := {id |
	some agreement_id in agreement.asked_by
	some id, _ in data.federation.agreements[agreement_id].opted_out
}

alike := {like | some _, like in likeness}

about := {like: agreement.about(partner(like)) | some like in alike}

name_of := {like: name(known) | some like, known in about}

default valid := false

valid if {
	is_object(input.candidates)
	every like in alike {
		facts.party(partner(like))
	}
}

# Everything in `known` is in the name: the sides follow from what is lacking.
name(known) := concat(" ", [
	bits[known.between_police],
	concat("", [
		bits[known.standing.partner_known], bits[known.standing.partner_located],
		bits[known.standing.other_partner], bits[known.standing.schemes_answered],
	]),
	concat("+", sort(known.ids)),
	known.lacks,
])

bits := {true: "1", false: "0"}
