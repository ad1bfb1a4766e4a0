# What of each record may leave? Decided by the owner's node for a batch of records at once, in
# the order of the input. Reasons here depend on records: none is for the requester.
#
# METADATA
# scope: package
# schemas:
#   - input: schema.release
package fairlead.release

import data.fairlead.agreement
import data.fairlead.facts
import data.fairlead.question
import data.fairlead.terms
import data.fairlead.verdict

# METADATA
# entrypoint: true
decision := {
	"policy": data.federation.policy,
	"records": [names[likeness] | some likeness in likenesses],
	"decisions": {name: verdict_on(known) | some [name, known] in kinds},
}

# Records that differ in nothing a rule looks at are decided together, each under the name of its
# kind. With records that are no array there is nothing to decide on: the answer is empty, and
# the enforcement point misses its decisions.
likenesses := [likeness(record) | some record in input.records]

# All that rules look at: every field but the type, and of the expiry whether it has passed. What
# is no record is alike to nothing.
likeness(r) := [
	r.event, r.country, r.tlp, r.pap, r.europol, r.source_grade, r.information_grade, r.purposes,
	r.active_target, r.personal, r.fields, unexpired(r), facts.record_rest(r),
] if {
	is_object(r)
} else := []

alike := {likeness | some likeness in likenesses}

# The record whom all of these are like, for the rules.
like(likeness) := {
	"event": likeness[0], "country": likeness[1], "tlp": likeness[2], "pap": likeness[3],
	"europol": likeness[4], "source_grade": likeness[5], "information_grade": likeness[6],
	"purposes": likeness[7], "active_target": likeness[8], "personal": likeness[9],
	"fields": likeness[10], "retained": likeness[11],
} if {
	count(likeness) == 13
} else := {}

known_of := {likeness: about_record(like(likeness)) | some likeness in alike}

names := {likeness: name(known) | some likeness, known in known_of}

kinds := {[names[likeness], known] | some likeness, known in known_of}

about_record(record) := {
	"evidence": evidence(record),
	"reach": reach(record),
	"unknown": unknown_fields(record),
	"told": told(record),
}

# Everything that is known is in the name.
name(known) := concat(" ", [
	concat("", [bits[ok] | some ok in [
		known.evidence.event_asked, known.evidence.purpose_shared, known.evidence.retained,
		known.evidence.record_located, known.evidence.tlp_permits, known.evidence.pap_permits,
		known.evidence.europol_known, known.evidence.graded, known.evidence.target_inactive,
		known.evidence.person_permits, known.told,
	]]),
	known.reach,
	concat("+", sort(known.unknown)),
])

bits := {true: "1", false: "0"}

verdict_on(known) := object.union(
	verdict.of(
		object.union(object.union(general, known.evidence), {"facets_left": facets_left(known)}),
		released(known),
		particular,
	),
	alert[known.told],
)

# Whatever else speaks against it, touching an active target is told to the owner's desk.
told(record) if {
	record.active_target == true
} else := false

alert := {true: {"obligations": {"notify": ["owner_desk"]}}, false: {}}

owner := object.get(input, "owner", {})

about := agreement.about(owner)

ids := about.ids

# What is the same for every record is decided once: rules are evaluated once a batch, functions
# at every call.
particular := agreement.particular(about)

default granted := set()

granted := terms.expand(input.facets) & terms.shared_facets(ids)

agreed := terms.of(ids, about.between_police)

record_countries := terms.record_countries(ids)

redacted_always := {name | some name in terms.redacted(ids, about.between_police)}

registered := {name | some name, _ in data.federation.fields}

general := agreement.checks(object.union(question.evidence, {"input_valid": input_valid}), about)

default input_valid := false

input_valid if {
	facts.head("release", {"query", "asker", "owner", "facets", "records"})
	facts.question_opened(input.query)
	facts.party(input.asker)
	facts.party(input.owner)
	facts.texts(input.facets)
	is_array(input.records)
	every likeness in alike {
		likeness[12] == true
		facts.record(like(likeness))
	}
}

evidence(record) := {
	"event_asked": event_asked(record),
	"purpose_shared": purpose_shared(record),
	"retained": retained(record),
	"record_located": record_located(record),
	"tlp_permits": tlp_permits(record),
	"pap_permits": pap_permits(record),
	"europol_known": europol_known(record),
	"graded": graded(record),
	"target_inactive": target_inactive(record),
	"person_permits": person_permits(record),
}

event_asked(record) if {
	not_unspecified(record.event)
	count(input.query.events) == 0
} else if {
	not_unspecified(record.event)
	record.event in input.query.events
} else := false

not_unspecified(event) if {
	facts.text(event)
	event != "unspecified"
}

purpose_shared(record) if {
	input.query.purpose in record.purposes
} else := false

retained(record) if {
	record.retained == true
} else := false

unexpired(record) if {
	input.now < record.expires_at
} else := false

# A record that says nowhere to have come from comes from nowhere that an agreement lets.
record_located(record) if {
	record.country in record_countries
} else := false

# RED is for named persons; an unspecified or unknown TLP counts as RED.
tlp_permits(record) if {
	data.federation.handling.tlp[record.tlp] == true
	record.tlp in {"CLEAR", "GREEN", "AMBER", "AMBER_STRICT"}
} else := false

# RED means no action the subject could notice: blind questions only. Unspecified counts as RED.
pap_permits(record) if {
	data.federation.handling.pap[record.pap] == true
	record.pap in {"CLEAR", "GREEN", "AMBER"}
} else if {
	data.federation.handling.pap[record.pap] == true
	record.pap == "RED"
	input.query.mode == "blind"
} else := false

europol_known(record) if {
	data.federation.handling.europol[record.europol] == true
} else := false

graded(record) if {
	data.federation.handling.source_grade[record.source_grade] == true
	data.federation.handling.information_grade[record.information_grade] == true
} else := false

# The registry says what becomes of an active target; this kernel knows one word for it.
target_inactive(record) if {
	data.federation.handling.active_target == "no-hit-and-alert"
	record.active_target == false
} else := false

# A record about a person goes to public partners only, and there without the name.
person_permits(record) if {
	record.personal == false
} else if {
	input.asker.sector == "public"
} else := false

facets_left(known) if {
	count(facets[known.reach]) > 0
} else := false

# A pointer says that something exists and whom to call. Everything but a record that may be
# passed on is a pointer: H2 and H3 restrict dissemination, AMBER+STRICT keeps inside one
# organisation what a private partner would otherwise receive.
reach(record) := "whole" if {
	record.europol in {"H0", "H1"}
	record.tlp in {"CLEAR", "GREEN", "AMBER"}
} else := "whole" if {
	record.europol in {"H0", "H1"}
	record.tlp == "AMBER_STRICT"
	input.asker.sector == "public"
} else := "pointer"

facets := {"whole": granted & whole, "pointer": granted & {"existence", "contact_desk"}}

whole := {"existence", "contact_desk", "count_band", "full_record"} | terms.field_facets

released(known) := object.union(agreed, {
	"facets": terms.compact(facets[known.reach]),
	"obligations": {"redact": [name | some name in (redacted_always | known.unknown)]},
}) if {
	count(ids) > 0
} else := {}

# A field the registry does not know is withheld.
unknown_fields(record) := {name | some name in record.fields} - registered
