# Who may ask whom what. Each rule below keeps the agreements of the rule above that also cover
# one more side of the question; what is left at the end covers all of it. Nothing here is
# concluded from an absence.
package fairlead.agreement

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

general contains id if {
	some id in windowed
	data.federation.agreements[id].modes[input.query.mode] == true
}

# A side of an agreement names kinds and partners apart: a partner that calls itself "police"
# is not thereby police.
names(side, party) if side.kinds[party.kind] == true

names(side, party) if side.partners[party.partner_id] == true

# The agreements that let this owner answer.
covering(owner) := towards(general, owner)

towards(ids, owner) := {id |
	some id in ids
	names(data.federation.agreements[id].to, owner)
}

# Evidence about one owner, every value true or false.
pair(owner, ids) := {
	"partner_known": partner_known(owner),
	"other_partner": other_partner(owner),
	"schemes_answered": schemes_answered(owner),
	"agreement_covers": agreement_covers(ids),
}

partner_known(owner) if {
	question.known(owner)
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

agreement_covers(ids) if {
	count(ids) > 0
} else := false

# Why no agreement covers the question: the first side that none covers. The mode comes last,
# so BLIND_REQUIRED means that the same question would be permitted blind.
shortfall(_, ids) := "" if {
	count(ids) > 0
} else := "NO_AGREEMENT" if {
	count(towards(asked_by, _)) == 0
} else := "PURPOSE_NOT_COVERED"
