# What the agreements that cover a question permit together: where several do, the narrowest of
# each term holds.
package fairlead.terms

# `between_police`: asker and owner are both police forces.
of(ids, between_police) := {
	"facets": compact(shared_facets(ids)),
	"obligations": {
		"redact": redacted(ids, between_police),
		"max_records": min([data.federation.agreements[id].max_records | some id in ids]),
		"approvals": max([data.federation.agreements[id].approvals | some id in ids]),
		"second_approvers": second_approvers(ids),
		"notice_delay_s": max([data.federation.agreements[id].notice_delay_s | some id in ids]),
		"retention_days": min([data.federation.agreements[id].retention_days | some id in ids]),
		"onward": onward(ids),
		"notify": [],
	},
	"rules": [id | some id in ids],
} if {
	count(ids) > 0
} else := {}

# As many other people at the asker agreed as these terms demand.
second_approvers_agreed(permitted) if {
	is_number(input.approvals)
	input.approvals >= permitted.obligations.second_approvers
} else := false

# How many other people at the asker must agree to ask under these agreements.
second_approvers(ids) := max([data.federation.agreements[id].second_approvers | some id in ids]) if {
	count(ids) > 0
}

# Who may learn the answer from the asker. Every agreement must say it for the wider word to hold.
onward(ids) := "same-sector" if {
	every id in ids {
		data.federation.agreements[id].onward == "same-sector"
	}
} else := "with-consent" if {
	every id in ids {
		data.federation.agreements[id].onward in {"with-consent", "same-sector"}
	}
} else := "none"

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

# Where every agreement lets records come from.
record_countries(ids) := intersection({object.keys(data.federation.agreements[id].record_countries) |
	some id in ids
})

# Names of persons pass between police forces only, whatever an agreement says. A field counts
# as personal unless its row says that it is not.
redacted(ids, between_police) := [name | some name in (agreed(ids) | protected(between_police))]

agreed(ids) := {name |
	some id in ids
	some name in data.federation.agreements[id].redact
}

protected(between_police) := set() if {
	between_police == true
} else := personal_fields

personal_fields := {name | some name, _ in data.federation.fields} - business_fields

business_fields := {name | some name, f in data.federation.fields; f.personal == false}
