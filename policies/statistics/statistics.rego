# May this user ask for these figures? Decided by the asker's own node and again by the gateway,
# both over the same input. Nothing here says which cells are shown: what a figure may tell of any
# contributor is decided on the figures, not on who asks.
#
# METADATA
# scope: package
# schemas:
#   - input: schema.statistics
package fairlead.statistics

import data.fairlead.agreement
import data.fairlead.facts
import data.fairlead.integrity
import data.fairlead.question
import data.fairlead.verdict

# METADATA
# entrypoint: true
decision := object.union(
	verdict.of(checks, permitted, shortfall),
	{"policy": data.federation.policy},
)

checks := {
	"input_valid": input_valid,
	"policy_whole": integrity.policy_whole,
	"asker_known": question.asker_known,
	"asker_located": question.asker_located,
	"user_permitted": user_permitted,
	"cube_known": cube_known,
	"purpose_known": purpose_known,
	"figures_agreed": figures_agreed,
}

default input_valid := false

input_valid if {
	facts.head("statistics", {"question", "asker", "user"})
	object.keys(input.question) == {"cube", "level", "purpose"}
	facts.text(input.question.cube)
	facts.text(input.question.level)
	facts.text(input.question.purpose)
	facts.party(input.asker)
	facts.user(input.user)
}

# Figures have roles of their own: who may read them need not be one who may ask about a case.
default user_permitted := false

user_permitted if {
	some role in input.user.roles
	data.federation.figure_roles[role] == true
}

default cube_known := false

cube_known if data.federation.cubes[input.question.cube] == true

default purpose_known := false

purpose_known if is_object(data.federation.purposes[input.question.purpose])

default figures_agreed := false

figures_agreed if count(located) > 0

# Each rule keeps the agreements of the rule above that also cover one more side of the question.
# One that is left at the end is enough: they say who may ask and nothing of what is shown, so there
# is no narrowest among several. "All cubes" was written out as their names when it was compiled.
asked contains id if {
	some id, a in data.federation.statistics
	agreement.names(a.from, input.asker)
	a.valid_from <= input.now
	input.now < a.valid_until
	a.cubes[input.question.cube] == true
}

purposeful contains id if {
	some id in asked
	data.federation.statistics[id].purposes[input.question.purpose] == true
}

staffed contains id if {
	some id in purposeful
	some role in input.user.roles
	data.federation.statistics[id].roles[role] == true
}

located contains id if {
	some id in staffed
	data.federation.statistics[id].countries[input.asker.country] == true
}

# Figures, and no record of anybody.
permitted := {
	"facets": ["figures"],
	"obligations": {
		"redact": [],
		"max_records": 0,
		"approvals": 0,
		"second_approvers": 0,
		"notice_delay_s": 0,
		"retention_days": null,
		"onward": null,
		"notify": [],
	},
	"rules": [id | some id in located],
}

# Why no agreement covers the question: the first side that none covers.
shortfall := {"figures_agreed": "FIGURES_NOT_AGREED"} if {
	count(asked) == 0
} else := {"figures_agreed": "FIGURES_PURPOSE"} if {
	count(purposeful) == 0
} else := {"figures_agreed": "FIGURES_ROLE"} if {
	count(staffed) == 0
} else := {"figures_agreed": "FIGURES_COUNTRY"}
