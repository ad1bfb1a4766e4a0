# From evidence to a decision. Permit needs every check to be there and to be true; the
# enforcement point compares the names of the checks with its own list.
package fairlead.verdict

import data.fairlead.reasons

# `particular` gives the code of a failed check where it depends on the circumstances.
of(checks, terms, particular) := {
	"effect": "permit",
	"checks": checks,
	"facets": terms.facets,
	"obligations": terms.obligations,
	"reasons": [],
	"rules": terms.rules,
} if {
	all_true(checks)
} else := {
	"effect": "deny",
	"checks": checks,
	"facets": [],
	"obligations": nothing,
	"reasons": reasons.explain(codes(checks, particular)),
	"rules": [],
}

all_true(checks) if {
	count(checks) > 0
	every _, ok in checks {
		ok == true
	}
}

# What a denial permits.
nothing := {
	"redact": [],
	"max_records": 0,
	"approvals": 0,
	"second_approvers": 0,
	"notice_delay_s": 0,
	"retention_days": 0,
	"onward": "none",
	"notify": [],
}

# What a point permits that says nothing about records: the federation's own ceilings. The
# other points narrow it.
ceiling := {
	"facets": ["contact_desk", "count_band", "existence", "full_record"],
	"obligations": {
		"redact": [],
		"max_records": data.federation.limits.max_records,
		"approvals": 0,
		"second_approvers": 0,
		"notice_delay_s": 0,
		"retention_days": data.federation.limits.retention_days,
		"onward": null,
		"notify": [],
	},
	"rules": [],
}

# An input that is not one says nothing more.
codes(checks, particular) := {"INPUT_INVALID"} if {
	checks.input_valid == false
} else := {code |
	some name, ok in checks
	ok == false
	code := code_of(name, particular)
}

code_of(name, particular) := particular[name] if {
	particular[name]
} else := reasons.of_check[name]
