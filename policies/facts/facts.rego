# The closed schema of every input. A field too few, a field too many or a field of another
# type is not an input: each point's `input_valid` rests on these rules and nothing else does.
package fairlead.facts

version := 2

# The outermost object: exactly these fields, this schema, this point, and a time.
# `head` keeps the point's own name inside the input, so that one point's input is refused by
# every other point.
head(point, keys) if {
	object.keys(input) == {"schema", "point", "now"} | keys
	input.schema == version
	input.point == point
	natural(input.now)
}

party(p) if {
	object.keys(p) == {"partner_id", "kind", "sector", "country", "schemes"}
	text(p.partner_id)
	text(p.kind)
	text(p.sector)
	text(p.country)
	texts(p.schemes)
}

# What the asker's node and the owner see: the window and the events are known there. A window
# of null is unbounded; no events means any event.
question_opened(q) if {
	question(q)
	window(q.window_days)
	texts(q.events)
}

# What the gateway sees: window and events are in the sealed part and must not be there.
question_sealed(q) if {
	question(q)
	is_null(q.window_days)
	is_null(q.events)
}

question(q) if {
	object.keys(q) == {
		"mode", "purpose", "legal_basis", "instrument", "schemes", "term_count", "window_days",
		"events",
	}
	q.mode in {"sealed", "blind"}
	text(q.purpose)
	text(q.legal_basis)
	instrument(q.instrument)
	texts(q.schemes)
	natural(q.term_count)
}

# null: the case has no legal instrument. Its reference is never an input.
instrument(i) if is_null(i)

instrument(i) if {
	object.keys(i) == {"kind", "authority", "valid_until"}
	text(i.kind)
	text(i.authority)
	natural(i.valid_until)
}

window(days) if is_null(days)

window(days) if natural(days)

user(u) if {
	object.keys(u) == {"pseudonym", "roles"}
	text(u.pseudonym)
	texts(u.roles)
}

# null: there is no such case.
case(c) if is_null(c)

case(c) if {
	object.keys(c) == {"open", "assigned", "purpose", "legal_basis", "schemes", "expires_at"}
	is_boolean(c.open)
	is_boolean(c.assigned)
	text(c.purpose)
	text(c.legal_basis)
	texts(c.schemes)
	natural(c.expires_at)
}

grant(g) if {
	object.keys(g) == {"mode", "facets", "policy_serial", "expires_at"}
	text(g.mode)
	texts(g.facets)
	natural(g.policy_serial)
	natural(g.expires_at)
}

# Field names only: no value of a record is ever an input. Here, what rules look at in a record.
record(r) if {
	every value in [r.event, r.country, r.tlp, r.pap, r.europol] {
		is_string(value)
	}
	is_string(r.source_grade)
	is_string(r.information_grade)
	texts(r.purposes)
	is_boolean(r.active_target)
	is_boolean(r.personal)
	texts(r.fields)
}

# The rest of a record: its type, its expiry, and no field more than there should be.
record_rest(r) if {
	count(r) == 13
	is_string(r.record_type)
	natural(r.expires_at)
} else := false

text(value) if {
	is_string(value)
	value != ""
}

texts(values) if {
	is_array(values)
	every value in values {
		text(value)
	}
}

# Rego compares across types (null and true are smaller than any number): never compare before
# this holds.
natural(value) if {
	is_number(value)
	value >= 0
}
