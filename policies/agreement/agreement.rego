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
# so BLIND_REQUIRED means that the very same question is permitted blind.
shortfall(owner, ids) := "" if {
	agreement_covers(ids)
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
} else := "BLIND_REQUIRED" if {
	input.query.mode == "sealed"
	some id in towards(windowed, owner)
	data.federation.agreements[id].modes.blind == true
} else := "MODE_NOT_COVERED"

# What the covering agreements permit together: where several cover the same question, the
# narrowest of each term holds.
terms(owner, ids) := {
	"facets": compact(shared_facets(ids)),
	"obligations": {
		"redact": redacted(owner, ids),
		"max_records": min([data.federation.agreements[id].max_records | some id in ids]),
		"approvals": max([data.federation.agreements[id].approvals | some id in ids]),
		"notice_delay_s": max([data.federation.agreements[id].notice_delay_s | some id in ids]),
		"retention_days": min([data.federation.agreements[id].retention_days | some id in ids]),
		"notify": [],
	},
	"rules": [id | some id in ids],
} if {
	count(ids) > 0
} else := {}

shared_facets(ids) := intersection({expand(data.federation.agreements[id].facets) |
	some id in ids
})

# full_record stands for itself and every field of the registry.
expand(facets) := {f | some f in facets} | field_facets if {
	"full_record" in facets
} else := {f | some f in facets}

compact(facets) := [f | some f in (facets - field_facets)] if {
	"full_record" in facets
} else := [f | some f in facets]

field_facets := {f.facet | some f in data.federation.fields}

# Names of persons pass between police forces only, whatever an agreement says. A field counts
# as personal unless its row says that it is not.
redacted(owner, ids) := [name | some name in (agreed(ids) | protected(owner))]

agreed(ids) := {name |
	some id in ids
	some name in data.federation.agreements[id].redact
}

protected(owner) := set() if {
	input.asker.kind == "police"
	owner.kind == "police"
} else := personal_fields

personal_fields := {name | some name, _ in data.federation.fields} - business_fields

business_fields := {name | some name, f in data.federation.fields; f.personal == false}
