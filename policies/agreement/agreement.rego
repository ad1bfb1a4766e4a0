# Who may ask whom what. Each rule below keeps the agreements of the rule above that also cover
# one more side of the question; what is left at the end covers all of it. Nothing here is
# concluded from an absence.
package fairlead.agreement

import data.fairlead.instrument
import data.fairlead.jurisdiction
import data.fairlead.question

asked_by contains id if {
	some id, a in data.federation.agreements
	names(a.from, input.asker)
	a.valid_from <= input.now
	input.now < a.valid_until
}

purposeful contains id if {
	some id in asked_by
	a := data.federation.agreements[id]
	a.purposes[input.query.purpose] == true
	a.legal_bases[input.query.legal_basis] == true
}

schemed contains id if {
	some id in purposeful
	a := data.federation.agreements[id]
	every scheme in input.query.schemes {
		a.schemes[scheme] == true
	}
}

staffed contains id if {
	some id in schemed
	staff(data.federation.agreements[id])
}

# The person is known where the person asks; later points see a signed mandate, no roles.
staff(a) if {
	input.point == "asking"
	some role in input.user.roles
	a.roles[role] == true
}

staff(_) if input.point in {"routing", "sovereignty", "release"}

sized contains id if {
	some id in staffed
	input.query.term_count <= data.federation.agreements[id].max_terms
}

windowed contains id if {
	some id in sized
	window(data.federation.agreements[id])
}

# The window is in the sealed part, which the gateway cannot open.
window(_) if input.point == "routing"

window(a) if {
	input.point in {"asking", "sovereignty", "release"}
	is_null(a.max_window_days)
}

window(a) if {
	input.point in {"asking", "sovereignty", "release"}
	is_number(input.query.window_days)
	input.query.window_days <= a.max_window_days
}

located contains id if {
	some id in windowed
	data.federation.agreements[id].asker_countries[input.asker.country] == true
}

grounded contains id if {
	some id in located
	jurisdiction.lawful(data.federation.agreements[id], input.asker)
}

willing contains id if {
	some id in grounded
	takes_part(data.federation.agreements[id], input.asker)
}

instrumented contains id if {
	some id in willing
	instrument.presented(data.federation.agreements[id])
}

general contains id if {
	some id in instrumented
	data.federation.agreements[id].modes[input.query.mode] == true
}

# A side of an agreement names kinds and partners apart: a partner that calls itself "police"
# is not thereby police.
names(side, party) if side.kinds[party.kind] == true

names(side, party) if side.partners[party.partner_id] == true

takes_part(a, party) if object.get(a.opted_out, party.partner_id, false) == false

# The agreements that let this owner answer.
covering(owner) := joined(general, owner)

towards(ids, owner) := {id |
	some id in ids
	names(data.federation.agreements[id].to, owner)
}

placed(ids, owner) := {id |
	some id in towards(ids, owner)
	data.federation.agreements[id].owner_countries[owner.country] == true
}

lawful(ids, owner) := {id |
	some id in placed(ids, owner)
	jurisdiction.lawful(data.federation.agreements[id], owner)
}

joined(ids, owner) := {id |
	some id in ids
	a := data.federation.agreements[id]
	names(a.to, owner)
	a.owner_countries[owner.country] == true
	jurisdiction.lawful(a, owner)
	takes_part(a, owner)
}

# All that a decision about one owner depends on beside the question: the agreements that cover
# it, and the evidence, every value true or false.
about(owner) := {
	"ids": ids,
	"between_police": between_police(owner),
	"standing": {
		"partner_known": partner_known(owner),
		"partner_located": partner_located(owner),
		"other_partner": other_partner(owner),
		"schemes_answered": schemes_answered(owner),
	},
	"sides": sides(owner, ids),
	"lacks": shortfall(owner, ids),
} if {
	ids := covering(owner)
}

# The evidence with what holds for every owner.
checks(general, facts) := object.union(object.union(general, facts.sides), facts.standing)

# The code of every check that failed because no agreement covers the question.
particular(facts) := {} if {
	facts.lacks == ""
} else := {check: facts.lacks | some check in staged}

staged := object.keys(every_side) | {"second_approvers_agreed"}

between_police(owner) if {
	input.asker.kind == "police"
	owner.kind == "police"
} else := false

partner_known(owner) if {
	question.known(owner)
} else := false

partner_located(owner) if {
	jurisdiction.known(owner)
} else := false

other_partner(owner) if {
	is_string(input.asker.partner_id)
	owner.partner_id != input.asker.partner_id
} else := false

schemes_answered(owner) if {
	count(input.query.schemes) > 0
	every scheme in input.query.schemes {
		scheme in owner.schemes
	}
} else := false

left(ids) if {
	count(ids) > 0
} else := false

# An agreement that is left at the end passed every rule, so it is evidence of each.
sides(owner, ids) := every_side if {
	left(ids)
} else := {
	"country_covered": left(placed(located, owner)),
	"transfer_grounded": left(lawful(grounded, owner)),
	"taking_part": left(joined(willing, owner)),
	"instrument_valid": left(joined(instrumented, owner)),
	"agreement_covers": false,
}

every_side := {
	"country_covered": true,
	"transfer_grounded": true,
	"taking_part": true,
	"instrument_valid": true,
	"agreement_covers": true,
}

# Why no agreement covers the question: the first side that none covers. The mode comes last,
# so BLIND_REQUIRED means that the very same question is permitted blind.
shortfall(owner, ids) := "" if {
	left(ids)
} else := "NO_AGREEMENT" if {
	count(towards(asked_by, owner)) == 0
} else := "PURPOSE_NOT_COVERED" if {
	count(towards(purposeful, owner)) == 0
} else := "SCHEME_NOT_COVERED" if {
	count(towards(schemed, owner)) == 0
} else := "ROLE_NOT_COVERED" if {
	count(towards(staffed, owner)) == 0
} else := "TOO_MANY_TERMS" if {
	count(towards(sized, owner)) == 0
} else := "WINDOW_TOO_LONG" if {
	count(towards(windowed, owner)) == 0
} else := "COUNTRY_NOT_COVERED" if {
	count(placed(located, owner)) == 0
} else := "TRANSFER_GROUND_MISSING" if {
	count(lawful(grounded, owner)) == 0
} else := "OPTED_OUT" if {
	count(joined(willing, owner)) == 0
} else := instrument.shortfall if {
	count(joined(instrumented, owner)) == 0
} else := "BLIND_REQUIRED" if {
	input.query.mode == "sealed"
	some id in joined(instrumented, owner)
	data.federation.agreements[id].modes.blind == true
} else := "MODE_NOT_COVERED"
